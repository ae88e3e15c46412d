"""Judged pairs: metrics against scikit-learn and scipy, thresholds against trying every one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score  # comes with sentence-transformers, the reference

from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.evaluation.pair_metrics import (
    average_precision,
    best_f1,
    precision_recall,
    spearman,
)
from cl_haystack.evaluation.pair_tasks import (
    PairResult,
    compare_pairs,
    evaluate_pairs,
    pair_interval,
    read_pair_task,
)
from cl_haystack.evaluation.thresholds import choose_threshold

SCORED = st.lists(
    st.tuples(st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.9]) | st.floats(-1, 1), st.sampled_from([0, 1])),
    min_size=2,
    max_size=40,
)


def arrays(scored):
    scores, labels = zip(*scored, strict=True)
    return np.array(scores, dtype=np.float64), np.array(labels, dtype=np.float64)


@settings(deadline=None)
@given(SCORED)
def test_average_precision_is_that_of_scikit_learn(scored):
    scores, labels = arrays(scored)
    if labels.any():
        expected = average_precision_score(labels, scores)
        assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-9)
    else:
        assert average_precision(scores, labels) == 0


@settings(deadline=None)
@given(SCORED)
def test_the_curve_and_the_best_f1_are_those_of_trying_every_threshold(scored):
    scores, labels = arrays(scored)
    curve = precision_recall(scores, labels)
    f1 = 0.0
    for position, threshold in enumerate(sorted(set(scores.tolist()), reverse=True)):
        taken = scores >= threshold
        hits = labels[taken].sum()
        assert curve.scores[position] == threshold
        assert curve.taken[position] == taken.sum()
        assert curve.precision[position] == pytest.approx(hits / taken.sum())
        f1 = max(f1, 2 * hits / (taken.sum() + labels.sum()))
    assert len(curve.scores) == len(set(scores.tolist()))
    assert best_f1(scores, labels) == pytest.approx(f1)


@settings(deadline=None)
@given(SCORED)
def test_spearman_is_that_of_scipy_and_0_where_there_is_no_order(scored):
    from scipy import stats

    scores, grades = arrays(scored)
    if len(set(scores)) > 1 and len(set(grades)) > 1:
        assert spearman(scores, grades) == pytest.approx(stats.spearmanr(scores, grades).statistic, abs=1e-9)
    else:
        assert spearman(scores, grades) == 0


class Scripted:
    """Gives each text the angle that it names, so that similarities are known."""

    def __init__(self):
        self.encoded = []

    def encode_queries(self, texts, *, on_progress=None):
        self.encoded.append(list(texts))
        angles = np.array([float(text.split()[-1]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    encode_documents = encode_queries


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def pairs_file(tmp_path):
    """The nearer, the likelier a duplicate: angles 0.01 to 0.6, labels 1 1 1 0 1 0 0 …"""
    labels = [1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0] * 5
    records = [
        {"anchor": "a 0", "positive": f"p{i} {0.01 * (i + 1):.2f}", "label": label, "score": 1 - i / 60}
        for i, label in enumerate(labels)
    ]
    return write(tmp_path / "pairs.jsonl", records)


def test_pairs_are_scored_each_text_once(pairs_file):
    encoder = Scripted()
    task = read_pair_task(pairs_file)
    result = evaluate_pairs(task, encoder, label="angles")
    assert [len(texts) for texts in encoder.encoded] == [1, 60]
    assert result.scores == pytest.approx([np.cos(0.01 * (i + 1)) for i in range(60)], abs=1e-6)
    assert result.metrics["spearman"] == pytest.approx(1)
    assert set(result.metrics) == {"spearman", "average_precision", "f1"}
    assert PairResult.model_validate_json(result.model_dump_json()) == result
    interval = pair_interval(task, result, "average_precision")
    assert interval.low < interval.mean == result.metrics["average_precision"] < interval.high


def test_what_is_left_out_or_contradicts_is_counted_and_named(tmp_path):
    records = [
        {"anchor": "a 1", "positive": "b 1", "label": 1},
        {"anchor": "a 1", "positive": "b 1", "label": 1},
        {"anchor": "a 1", "positive": "b 1", "label": 0},
        {"anchor": "unjudged", "positive": "x"},
    ]
    task = read_pair_task(write(tmp_path / "p.jsonl", records))
    assert len(task.anchors) == 3
    assert [str(oddity) for oddity in task.oddities] == [
        "1 pairs have neither score nor label and are left out ('unjudged')",
        "1 pairs are there more than once, with the same judgement ('a 1')",
        "1 pairs are there again with another judgement ('a 1')",
    ]
    with pytest.raises(DataError, match=r"none of 1 pairs has a judgement; expected 'score'.*or 'label'"):
        read_pair_task(write(tmp_path / "q.jsonl", records[3:]))


def result_of(task, scores):
    return PairResult(
        label="x", task=task.name, metrics={}, scores=tuple(scores), num_pairs=len(scores), seconds=0
    )


@settings(deadline=None)
@given(SCORED, st.sampled_from([0.5, 0.75, 0.9, 1.0]))
def test_a_threshold_has_the_wanted_precision_and_no_lower_one_has(tmp_path_factory, scored, wanted):
    scores, labels = arrays(scored)
    path = write(
        tmp_path_factory.mktemp("t") / "p.jsonl",
        [{"anchor": f"a{i}", "positive": "b", "label": int(label)} for i, label in enumerate(labels)],
    )
    task = read_pair_task(path)
    reachable = [
        t for t in set(scores.tolist()) if labels[scores >= t].mean() >= wanted and labels[scores >= t].any()
    ]
    if not reachable:
        with pytest.raises(DataError, match=r"no threshold has a precision|none of .* has label 1"):
            choose_threshold(task, result_of(task, scores), precision=wanted)
        return
    found = choose_threshold(task, result_of(task, scores), precision=wanted)
    taken = scores >= found.score
    assert (taken == (scores >= min(reachable))).all()
    assert found.precision == pytest.approx(labels[taken].mean())
    assert found.precision >= wanted
    assert found.recall == pytest.approx(labels[taken].sum() / labels.sum())
    assert found.precision_ci95[0] - 1e-9 <= found.precision <= found.precision_ci95[1] + 1e-9
    assert (found.pairs, found.positives) == (len(labels), labels.sum())


def test_a_precision_that_cannot_be_is_refused(pairs_file):
    task = read_pair_task(pairs_file)
    for precision in (0, 1.5):
        with pytest.raises(ConfigurationError, match="above 0 and at most 1"):
            choose_threshold(task, result_of(task, [0.5] * 60), precision=precision)
    with pytest.raises(DataError, match=r"the highest is 0\.417, at a recall of 1\.000"):
        choose_threshold(task, result_of(task, [0.5] * 60), precision=0.9)


def test_models_are_compared_pair_by_pair(pairs_file):
    task = read_pair_task(pairs_file)
    good, same = [1 - i / 60 for i in range(60)], [1 - 2 * i / 60 for i in range(60)]
    noisy = (np.random.default_rng(0).random(60)).tolist()
    better = compare_pairs(task, result_of(task, good), result_of(task, noisy), "spearman")
    assert (better.verdict, better.unit, better.ties) == ("better", "pairs", None)
    assert better.p_value < 0.01
    assert compare_pairs(task, result_of(task, noisy), result_of(task, good), "spearman").verdict == "worse"
    equal = compare_pairs(task, result_of(task, good), result_of(task, same), "average_precision")
    assert (equal.verdict, equal.p_value, equal.difference.mean) == ("not distinguishable", 1.0, 0.0)
