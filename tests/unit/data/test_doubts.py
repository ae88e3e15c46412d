"""What a check concludes from vectors, on vectors of which everything is known."""

import numpy as np
import pytest

from cl_haystack.data.curation.companions import _measure, doubted_companions
from cl_haystack.data.curation.doubts import doubt, most_doubtful
from cl_haystack.data.curation.near_texts import Alike, TextTable
from cl_haystack.data.curation.paraphrases import same_meaning
from cl_haystack.data.curation.plausibility import judge, judgements_of, measure
from cl_haystack.data.curation.vectors import TextVectors
from tests.unit.data.columns import columns_of


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("distance", [1.0, 3.0, 5.0])
def test_wrong_labels_are_estimated_and_false_alarms_are_few_however_good_the_model_is(share, distance):
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, 4000)
    features = random.normal(0, 1, (4000, 4)).astype(np.float32)
    features[:, 0] += distance * truth
    flipped = random.random(4000) < share
    doubts = doubt(features, np.where(flipped, 1 - truth, truth))
    named = most_doubtful(doubts.wrong)
    if distance > 1:  # a model that hardly tells the labels apart cannot tell how many are wrong
        assert abs(doubts.share - share) < 0.012
    assert named[~flipped].mean() <= 0.01
    if share and distance == 5:
        assert named[flipped].mean() >= 0.95
    # The best that a limit on the score can do, were the labels known: no more false alarms than were made.
    towards = features[:, 0] * np.where(truth ^ flipped, -1, 1)
    limit = np.sort(towards[~flipped])[-max(1, int(named[~flipped].sum()))]
    if share:
        assert named[flipped].mean() >= 0.8 * (towards[flipped] > limit).mean()


def test_what_is_known_is_not_estimated_and_teaches():
    random = np.random.default_rng(6)
    truth = random.integers(0, 2, 1000)
    features = (random.normal(0, 1, (1000, 1)) + 4 * truth[:, None]).astype(np.float32)
    wrong = random.random(1000) < 0.2
    given = np.where(wrong, 1 - truth, truth)
    known = np.where(np.arange(1000) < 500, wrong, np.nan)
    doubts = doubt(features, given, known)
    np.testing.assert_array_equal(doubts.wrong[:500], wrong[:500])
    assert abs(doubts.share - wrong[500:].mean()) < 0.02
    none_wrong = doubt(features, truth, np.zeros(1000))
    assert not none_wrong.wrong.any()
    assert (none_wrong.odds > 1)[truth == 1].mean() > 0.95


def test_too_few_judgements_are_not_doubted():
    assert doubt(np.zeros((100, 4), dtype=np.float32), np.repeat([0, 1], [19, 81])) is None


def test_what_lines_say_of_their_texts_and_texts_put_together_by_chance():
    said = judgements_of(columns_of(
        [(0, 1, (2, 3)), (4, 5, ()), (6, 7, (2,)), (8, 9, ()), None, (0, 9, (3,))],
        labels=[None, 0, 0, None, None, 1], scores=[None, None, None, 0.5, None, None],
    ))  # fmt: skip
    nobody = said.place == -1
    rows = np.stack([said.place, said.slot, said.anchor, said.text, said.given], axis=1)[~nobody]
    assert list(map(tuple, rows.tolist())) == [
        (0, 0, 0, 1, 1), (1, 0, 4, 5, 0), (2, 0, 6, 7, 0), (5, 0, 0, 9, 1),
        (0, 1, 0, 2, 0), (0, 2, 0, 3, 0), (5, 1, 0, 3, 0),
    ]  # fmt: skip
    chance = set(zip(said.anchor[nobody].tolist(), said.text[nobody].tolist(), strict=True))
    assert chance
    assert not chance & {(0, 1), (4, 5), (6, 7), (0, 9)}


def test_what_is_measured_equals_a_naive_reading(tmp_path):
    vectors = np.random.default_rng(2).normal(0, 1, (30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lines = [(i, 15 + i, ()) for i in range(15)] + [(0, 16, (17,))]
    said = judgements_of(columns_of(lines, labels=[None] * 16, scores=[None] * 16))
    table = _table([f"word{text % 3} thing{text}" for text in range(30)])
    stored = _stored(vectors, 15, tmp_path)
    features = measure(said, table, *stored)
    for row, (anchor, text) in enumerate(zip(said.anchor, said.text, strict=True)):
        cosine = float(vectors[anchor] @ vectors[text])
        expected = [cosine, features[row, 1]]
        for own, other, sample in ((anchor, text, range(15, 30)), (text, anchor, range(15))):
            all_of_it = vectors[list(sample)] @ vectors[own]
            rest = sorted((float(vectors[own] @ vectors[i]) for i in sample if i != other), reverse=True)[:10]
            expected += [
                (cosine - all_of_it.mean()) / all_of_it.std(),
                cosine - rest[0],
                cosine - np.mean(rest),
            ]
        expected.append(_nearest_precedents(anchor, text, said, vectors))
        np.testing.assert_allclose(features[row], expected, atol=0.02)  # vectors are kept in half precision
        assert (features[row, 1] > 0) == (anchor % 3 == text % 3)


def _table(texts):
    table = TextTable(texts.__getitem__)
    for text in texts:
        table.add(text)
    return table


def _stored(vectors, num_anchors, folder):
    """Return what a check keeps of anchors and texts: the former come first."""
    return [
        TextVectors(ids, lambda some: vectors[list(map(int, some))], str, folder, lambda step: None)
        for ids in (np.arange(num_anchors), np.arange(num_anchors, len(vectors)))
    ]


def test_where_no_line_says_yes_there_are_no_precedents(tmp_path):
    vectors = np.random.default_rng(2).normal(0, 1, (40, 8))
    said = judgements_of(
        columns_of([(i, 20 + i, ()) for i in range(20)], labels=[0] * 20, scores=[None] * 20)
    )
    table = _table(["the same words"] * 40)
    features = measure(said, table, *_stored(vectors, 20, tmp_path))
    assert not features[:, 8].any()
    assert doubt(features, said.given) is None


def _nearest_precedents(anchor, text, said, vectors):
    yes = said.given == 1
    seen = vectors.copy()
    seen[:15] -= vectors[said.anchor[yes]].mean(axis=0)
    seen[15:] -= vectors[said.text[yes]].mean(axis=0)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    cosine = seen @ seen.T
    near = []
    for one, other, given in zip(said.anchor, said.text, said.given, strict=True):
        if not given:
            continue
        straight = max(cosine[anchor, one], 0) * max(cosine[text, other], 0)
        crossed = max(cosine[anchor, other], 0) * max(cosine[text, one], 0)
        near.append(0 if one == anchor or other == text else max(straight, crossed))
    return np.mean(sorted(near)[-3:])


def test_a_label_is_doubted_where_lines_with_texts_of_the_same_kind_say_otherwise(tmp_path):
    random = np.random.default_rng(4)
    kinds = random.normal(0, 1, (2, 20, 64))  # what anchors, and what texts, of 20 kinds are like: unrelated
    kind = np.arange(600) % 20
    flipped = random.random(600) < 0.05
    yes = random.random(600) < 0.5
    other = np.where(yes, kind, (kind + random.integers(1, 20, 600)) % 20)
    vectors = np.concatenate([kinds[0, kind], kinds[1, other]]) + random.normal(0, 0.5, (1200, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    columns = columns_of(
        [(i, 600 + i, ()) for i in range(600)],
        labels=(yes ^ flipped).astype(int).tolist(),
        scores=[None] * 600,
    )
    said = judgements_of(columns)
    table = _table([f"text {text}" for text in range(1200)])
    features = measure(said, table, *_stored(vectors, 600, tmp_path))
    doubts, without = doubt(features, said.given), doubt(features[:, :-1], said.given)
    assert most_doubtful(doubts.wrong)[flipped].mean() >= 0.95
    assert most_doubtful(doubts.wrong)[~flipped].mean() <= 0.01
    # The cosine of two unrelated kinds tells nothing.
    assert most_doubtful(without.wrong)[flipped].mean() < 0.2


def test_a_negative_is_doubted_where_it_is_another_part_of_the_answer(tmp_path):
    random = np.random.default_rng(7)
    topics, dim = random.normal(0, 1, (800, 48)), 48
    bad = random.random(800) < 0.05
    # An anchor asks for one half of its topic; a document's other half has nothing of that.
    mask = np.arange(dim) < 20
    anchors = np.where(mask, topics, 0) + random.normal(0, 0.3, (800, dim))
    positives = topics + random.normal(0, 0.4, (800, dim))
    others = random.normal(0, 1, (800, dim))
    rest = np.where(mask, 0, topics) + random.normal(0, 0.4, (800, dim))
    vectors = np.concatenate([anchors, positives, np.where(bad[:, None], rest, others)])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    columns = columns_of(
        [(i, 800 + i, (1600 + i,)) for i in range(800)], labels=[None] * 800, scores=[None] * 800
    )
    said = judgements_of(columns)
    documents = _stored(vectors, 800, tmp_path)
    features = measure(said, _table([f"text {text}" for text in range(2400)]), *documents)
    companions = doubted_companions(said, features, documents[1])
    assert not companions[said.slot == 0].any()
    found = judge(said, features, companions, columns)
    assert found.negative_doubted[bad].mean() >= 0.95
    assert found.negative_doubted[~bad].mean() <= 0.01
    # The anchor alone does not tell.
    without = judge(said, features, np.zeros(len(said.place)), columns)
    assert without.negative_doubted[bad].mean() < 0.2


def test_a_hard_positive_beside_mined_negatives_is_not_doubted(tmp_path):
    """Negatives that a model found are nearer than many a positive: that makes no positive wrong."""
    random = np.random.default_rng(8)
    count, dim = 500, 48
    anchors = random.normal(0, 1, (count, dim))
    nearness = random.uniform(0.2, 1.5, (count, 1))  # some answers are hardly like their question
    positives = nearness * anchors + random.normal(0, 1, (count, dim))
    vectors = np.concatenate([anchors, positives])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    cosines = vectors[:count] @ vectors[count:].T
    np.fill_diagonal(cosines, -1)
    mined = count + np.argsort(-cosines, axis=1)[:, :3]
    columns = columns_of(
        [(i, count + i, tuple(mined[i].tolist())) for i in range(count)],
        labels=[None] * count,
        scores=[None] * count,
    )
    said = judgements_of(columns)
    stored = _stored(vectors, count, tmp_path)
    features = measure(said, _table([f"text {text}" for text in range(2 * count)]), *stored)
    found = judge(said, features, doubted_companions(said, features, stored[1]), columns)
    assert (found.negative > found.positive).mean() > 0.1
    assert (found.positive_doubted | found.negative_doubted).mean() <= 0.01


def test_of_too_few_lines_the_cosine_alone_tells(tmp_path):
    vectors = np.eye(12, dtype=np.float32)
    vectors[4:8] = vectors[:4] * 0.6 + vectors[4:8] * 0.8  # positives: cosine 0.6
    vectors[9] = vectors[1] * 0.8 + vectors[9] * 0.6  # one negative is nearer
    columns = columns_of([(i, 4 + i, (8 + i,)) for i in range(4)], labels=[None] * 4, scores=[None] * 4)
    said = judgements_of(columns)
    stored = _stored(vectors, 4, tmp_path)
    features = measure(said, _table([f"text {text}" for text in range(12)]), *stored)
    found = judge(said, features, doubted_companions(said, features, stored[1]), columns)
    assert found.negative_doubted.tolist() == [False, True, False, False]
    assert "too few to tell" in found.note


def test_where_a_companion_stands_equals_a_naive_reading(tmp_path):
    vectors = np.random.default_rng(2).normal(0, 1, (60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    [documents] = _stored(vectors, 0, tmp_path)[1:]
    positives, negatives = np.arange(20), np.arange(30, 50)
    measured = _measure(positives, negatives, documents)
    everything = [*range(20), *range(30, 50)]
    for row, (one, other) in enumerate(zip(positives, negatives, strict=True)):
        cosine = float(vectors[one] @ vectors[other])
        expected = []
        for own, sample in ((one, everything), (other, range(20))):
            all_of_it = vectors[list(sample)] @ vectors[own]
            near = [float(vectors[own] @ vectors[i]) for i in sample if i not in (one, other)]
            rest = sorted(near, reverse=True)[:10]
            expected += [
                (cosine - all_of_it.mean()) / all_of_it.std(),
                cosine - rest[0],
                cosine - np.mean(rest),
            ]
        np.testing.assert_allclose(measured[row], expected, atol=0.02)  # vectors are kept in half precision


def test_texts_of_one_meaning_are_found_among_thousands_unless_a_number_or_a_negation_differs(tmp_path):
    random = np.random.default_rng(0)
    vectors = random.normal(0, 1, (7000, 32)).astype(np.float32)
    vectors[3500:] = vectors[:3500] + random.normal(0, 0.15, (3500, 32))  # cosine about 0.99
    texts = [f"text {number % 3500 if number % 10 else number}" for number in range(7000)]
    stored = TextVectors(
        np.arange(7000), lambda some: vectors[list(map(int, some))], str, tmp_path, lambda step: None
    )
    alike = Alike(7000, 0)
    same_meaning(alike, stored, TextTable(texts.__getitem__), 0.95)
    found = {text for text in range(3500) if text + 3500 in alike.of(text)}
    same_number = {text for text in range(3500) if text % 10}
    assert len(found & same_number) >= 0.99 * len(same_number)
    assert not found - same_number
