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
    f1_threshold,
    precision_recall,
    spearman,
)
from cl_haystack.evaluation.pair_report import pair_report, study_pairs
from cl_haystack.evaluation.pair_tasks import (
    PairResult,
    compare_pairs,
    evaluate_pairs,
    pair_interval,
    read_pair_task,
)
from cl_haystack.evaluation.report import render_report
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
    taken = scores >= f1_threshold(curve)
    assert 2 * labels[taken].sum() / (taken.sum() + labels.sum() or 1) == pytest.approx(f1)


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
    taken = np.asarray(result.scores) >= result.f1_threshold
    labels = np.asarray(task.labels)
    assert 2 * labels[taken].sum() / (taken.sum() + labels.sum()) == pytest.approx(result.metrics["f1"])
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


MANY_SCORED = st.lists(
    st.tuples(st.integers(0, 20).map(lambda step: step / 20), st.integers(1, 40), st.integers(0, 40)),
    min_size=2,
    max_size=8,
    unique_by=lambda group: group[0],
).map(lambda groups: [(s, label) for s, ones, zeros in groups for label in [1] * ones + [0] * zeros])


def labelled_task(path, labels):
    records = [{"anchor": f"a{i}", "positive": "b", "label": int(label)} for i, label in enumerate(labels)]
    return read_pair_task(write(path, records))


@settings(deadline=None)
@given(MANY_SCORED, st.sampled_from([0.3, 0.5, 0.75, 0.9]))
def test_a_threshold_surely_has_the_wanted_precision_and_no_lower_one_has(tmp_path_factory, scored, wanted):
    from scipy import stats

    scores, labels = arrays(scored)
    task = labelled_task(tmp_path_factory.mktemp("t") / "p.jsonl", labels)

    def sure(threshold):
        right = labels[scores >= threshold]
        test = stats.binomtest(int(right.sum()), len(right), alternative="greater")
        return test.proportion_ci(0.9, method="wilson").low >= wanted

    reachable = [threshold for threshold in set(scores.tolist()) if sure(threshold)]
    if labels.all() or not reachable:
        with pytest.raises(DataError, match=r"no threshold surely|all of .* have label 1|it takes \d+ to be"):
            choose_threshold(task, result_of(task, scores), precision=wanted)
        return
    found = choose_threshold(task, result_of(task, scores), precision=wanted)
    taken = scores >= found.score
    assert (taken == (scores >= min(reachable))).all()
    assert found.precision == pytest.approx(labels[taken].mean())
    assert found.precision > wanted
    assert found.recall == pytest.approx(labels[taken].sum() / labels.sum())
    assert found.precision_ci95[0] - 1e-9 <= found.precision <= found.precision_ci95[1] + 1e-9
    assert (found.pairs, found.positives) == (len(labels), labels.sum())


def test_nine_in_ten_thresholds_keep_the_precision_on_other_pairs(tmp_path):
    """Normal scores, those of duplicates 2.5 higher: a threshold's precision on all such pairs is known."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    labels = np.tile([1, 0], 300)
    task = labelled_task(tmp_path / "p.jsonl", labels)
    true = []
    for _ in range(100):
        found = choose_threshold(task, result_of(task, rng.normal(2.5 * labels)), precision=0.9)
        true.append(norm.sf(found.score - 2.5) / (norm.sf(found.score - 2.5) + norm.sf(found.score)))
    assert np.mean(np.array(true) >= 0.9) >= 0.85
    assert np.mean(true) < 0.95  # no more precise than need be: that would cost recall


def test_a_precision_that_cannot_be_is_refused(pairs_file):
    task = read_pair_task(pairs_file)
    for precision in (0, 1, 1.5):
        with pytest.raises(ConfigurationError, match="above 0 and below 1"):
            choose_threshold(task, result_of(task, [0.5] * 60), precision=precision)
    with pytest.raises(DataError, match=r"right on 0\.417 of 60 pairs, at a recall of 1\.000"):
        choose_threshold(task, result_of(task, [0.5] * 60), precision=0.9)
    with pytest.raises(DataError, match=r"25 pairs have label 1; it takes 32 to be sure of .* 0\.95"):
        choose_threshold(task, result_of(task, [0.5] * 60), precision=0.95)


@pytest.mark.parametrize(("label", "found"), [(1, "all of 60 labelled pairs have"), (0, "none of 60 .* has")])
def test_a_threshold_needs_duplicates_and_others(tmp_path, label, found):
    task = labelled_task(tmp_path / "p.jsonl", [label] * 60)
    with pytest.raises(DataError, match=f"{found} label 1; a threshold needs duplicates and others"):
        choose_threshold(task, result_of(task, [0.5] * 60), precision=0.5)


def test_one_label_among_grades_has_neither_interval_nor_comparison(tmp_path):
    records = [{"anchor": f"a{i} 0", "positive": f"b 0.{i}", "score": 1 - i / 10} for i in range(10)]
    records[3]["label"] = 1
    task = read_pair_task(write(tmp_path / "p.jsonl", records))
    assert [str(oddity) for oddity in task.oddities] == [
        "1 pairs have a label: too few for an interval or a comparison ('a3 0')"
    ]
    one, other = (evaluate_pairs(task, Scripted(), label=label) for label in ("one", "other"))
    study = study_pairs(task, [one, other])
    assert [row.comparison.metric for row in study.comparisons] == ["spearman"]
    assert study.rows[0].metrics["f1"] == 1
    assert study.rows[0].metrics["spearman"].low <= 1
    assert list(study.rows[0].metrics) == list(task.metrics)
    assert "<svg" in render_report(pair_report(study))


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
