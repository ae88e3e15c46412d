import hashlib
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cl_haystack.data import CorpusDocument, MiningReport, Pair, mine_hard_negatives
from cl_haystack.data import mining as mining_module
from cl_haystack.encoder import exact_search, vectors
from cl_haystack.errors import ConfigurationError, DataError, EncodingError
from cl_haystack.progress import ignore
from tests.reference import mining as reference


@dataclass
class FakeEncoder:
    """Given vectors, of any length; those of other texts from a hash."""

    known: dict = field(default_factory=dict)
    encoded: list = field(default_factory=list)

    def vector(self, text):
        if text not in self.known:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            self.known[text] = np.random.default_rng(seed).normal(size=4) * (1 + seed % 3)
        return self.known[text]

    def encode_queries(self, texts, *, on_progress=ignore):
        return np.array([self.vector(text) for text in texts], dtype=np.float32)

    def encode_documents(self, texts, *, on_progress=ignore):
        self.encoded += texts
        return self.encode_queries(texts)


def document(key, text, title=""):
    return CorpusDocument(str(key), title, text)


def at(degrees):
    """Return a vector at an angle to the first axis."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0, 0])


def cosines(*degrees):
    return pytest.approx(tuple(np.cos(np.radians(degrees))), abs=1e-6)


@pytest.fixture
def plane():
    """An anchor at 0 degrees, its positive at 20, and documents named by their angles."""
    encoder = FakeEncoder({"anchor": at(0), "positive": at(20), "Positive ": at(20)})
    encoder.known |= {f"d{degrees}": at(degrees) for degrees in (10, 21, 40, 50, 60, 90)}
    corpus = [document(text, text) for text in encoder.known if text != "anchor" and text != "positive"]
    return encoder, [*corpus, document("blank", " ")]


def mine(plane, *pairs, **options):
    encoder, corpus = plane
    return mine_hard_negatives(pairs, corpus, encoder, **options)


ONE = Pair(anchor="anchor", positive="positive", source="s", weight=2)


def test_the_nearest_document_below_the_margin_becomes_the_negative(plane):
    (pair,), report = mine(plane, ONE, duplicate_similarity=0.99)
    assert (pair.anchor, pair.positive, pair.source, pair.weight) == ("anchor", "positive", "s", 2)
    assert pair.negatives == ("d40",)  # 0.95 of cos 20° is cos 26.8°
    assert pair.candidate_scores == cosines(20, 40)
    # "Positive " is the positive, "d21" a near copy of it, "d10" nearer to the anchor than it.
    assert report == MiningReport(
        pairs=1, with_mined=1, mined=1, candidates=7, known_positives=1, near_duplicates=1, too_similar=1
    )


def test_every_guard_alone(plane):
    def negatives(**options):
        options = {"relative_margin": 0, "duplicate_similarity": 2, "num_negatives": 9} | options
        return mine(plane, ONE, **options)[0][0].negatives

    assert negatives() == ("d21", "d40", "d50", "d60", "d90")
    assert negatives(duplicate_similarity=0.99) == ("d40", "d50", "d60", "d90")
    assert negatives(relative_margin=0.3) == ("d50", "d60", "d90")  # 0.658
    assert negatives(absolute_margin=0.25) == ("d50", "d60", "d90")  # 0.690
    assert negatives(absolute_margin=0.94) == ()
    assert negatives(rank_range=(3, 13)) == ("d40", "d50", "d60", "d90")  # d10, positive, d21 | d22 …
    assert negatives(rank_range=(0, 9), num_negatives=2) == ("d21", "d40")


def test_a_pair_for_which_nothing_passes_stays_as_it_is(plane):
    old = Pair(anchor="anchor", positive="d90", negatives=("x",))
    different = Pair(anchor="anchor", positive="positive", label=0)
    (first, second), report = mine(plane, old, different)
    assert first is old
    assert second is different  # no answer, so nothing to be a negative beside
    assert (report.pairs, report.with_mined, report.mined, report.too_similar) == (
        2,
        0,
        0,
        report.candidates - 1,
    )


def test_all_scores_are_of_one_scale(plane):
    plane[0].known["x"] = at(75)
    scored = Pair(anchor="anchor", positive="d90", negatives=("x",), candidate_scores=(7, 8))
    (first, second), report = mine(plane, scored, ONE, duplicate_similarity=0.99)
    assert (first.negatives, first.candidate_scores) == (("x",), cosines(90, 75))
    assert second.candidate_scores == cosines(20, 40)
    assert report.with_mined == 1


def test_new_negatives_come_behind_those_there_and_never_repeat_them(plane):
    encoder, corpus = plane
    encoder.known["own"] = at(75)
    corpus.append(document("again", "d60"))
    pair = Pair(anchor="anchor", positive="positive", negatives=("own", " D50"), candidate_scores=(9, 9, 9))
    encoder.known[" D50"] = at(50)
    (mined,), report = mine(plane, pair, num_negatives=9)
    assert mined.negatives == ("own", " D50", "d40", "d60", "d90")
    assert mined.candidate_scores == cosines(20, 75, 50, 40, 60, 90)
    assert report.repeated == 2


def test_positives_of_the_same_anchor_in_other_pairs_are_no_negatives(plane):
    other = Pair(anchor=" Anchor", positive="d60")
    encoder, _ = plane
    encoder.known[" Anchor"] = at(0)
    (mined, _), report = mine(plane, ONE, other, num_negatives=9)
    assert mined.negatives == ("d40", "d90")  # d50 is a near copy of d60
    assert report.known_positives == 4  # "Positive " and "d60", for both


@pytest.mark.parametrize(
    ("anchor", "positive"),
    [
        ("The title", "a text of some words"),
        ("a text of", "The title some words"),
        ("title a", "of some words"),
        ("the TITLE a text of some words", "something else"),
        ("?", "A Text  of some WORDS"),
    ],
)
def test_the_document_that_a_pair_was_drawn_from_is_no_negative(anchor, positive):
    encoder = FakeEncoder()
    encoder.known = {anchor: np.array([1, 0]), positive: np.array([1, 0.1])}
    encoder.known |= {"The title a text of some words": np.array([1, 1]), "other": np.array([0, 1])}
    corpus = [document(1, "a text of some words", "The title"), document(2, "other")]
    (pair,), report = mine_hard_negatives([Pair(anchor=anchor, positive=positive)], corpus, encoder)
    assert pair.negatives == ("other",)
    assert report.known_positives == 1


PASSAGE = "the jury of nine gave the first prize to an unknown writer"


@pytest.mark.parametrize(
    ("positive", "document_id", "is_known"),
    [
        (PASSAGE, None, True),  # a passage, all words of which are in the document
        (PASSAGE + " yesterday", None, False),
        (PASSAGE + " yesterday", "7", True),
        (PASSAGE + " yesterday", "8", False),
        ("first prize", None, False),  # too short to tell
        ("first prize", "7", True),
        ("something else", "7", False),  # the id is another corpus's
    ],
)
def test_the_document_of_an_excerpt_is_no_negative(positive, document_id, is_known):
    whole = f"On Monday {PASSAGE} in London"
    encoder = FakeEncoder({"who won": at(0), positive: at(10), whole: at(50), "other": at(60)})
    corpus = [document(7, whole), document(8, "other")]
    pair = Pair(anchor="who won", positive=positive, document_id=document_id)
    (mined,), report = mine_hard_negatives([pair], corpus, encoder)
    assert mined.negatives == ("other" if is_known else whole,)
    assert report.known_positives == is_known


def test_a_search_names_the_candidates_and_only_they_are_encoded(plane):
    encoder, _ = plane
    asked = []

    def search(queries, top_k):
        asked.append((queries, top_k))
        return [[("gone", 9.0), ("d90", 3.0), ("d40", 2.0), ("d10", 1.0), ("d50", 0.5)] for _ in queries]

    (pair,), report = mine(plane, ONE, search=search, rank_range=(0, 4), num_negatives=2)
    assert asked == [(["anchor"], 4)]
    assert pair.negatives == ("d90", "d40")  # by the search's rank, guarded by the encoder's cosine
    assert pair.candidate_scores == cosines(20, 90, 40)
    assert set(encoder.encoded) == {"positive", "d90", "d40", "d10"}
    assert (report.candidates, report.not_in_corpus, report.near_duplicates) == (3, 1, 1)
    assert mine(plane, ONE, search=lambda queries, top_k: [[]])[0] == [ONE]


def test_progress_counts_all_texts_and_anchors(plane):
    told = []

    class Telling(FakeEncoder):
        def encode_queries(self, texts, *, on_progress=ignore):
            from cl_haystack.progress import Progress

            for number in range(len(texts)):
                on_progress(Progress(number + 1, len(texts)))
            return super().encode_queries(texts)

        def encode_documents(self, texts, *, on_progress=ignore):
            return self.encode_queries(texts, on_progress=on_progress)

    mine((Telling(plane[0].known), plane[1]), ONE, on_progress=told.append)
    assert [step.done for step in told] == list(range(1, 11))  # anchor, positive, 7 documents, search
    assert {step.total for step in told} == {10}
    assert [step.note for step in told][::3] == ["anchors", "documents", "documents", "searching"]


def test_a_negative_cosine_of_the_positive_leaves_a_margin_too():
    encoder = FakeEncoder({"a": at(0), "p": at(120), "x": at(121), "y": at(130)})
    corpus = [document("x", "x"), document("y", "y")]
    (pair,), _ = mine_hard_negatives(
        [Pair(anchor="a", positive="p")], corpus, encoder, duplicate_similarity=2, num_negatives=2
    )
    assert pair.negatives == ("y",)  # cos 120° is -0.5, cos 121° -0.515 and above -0.525


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_negatives": 0}, "num_negatives is 0"),
        ({"rank_range": (5, 5)}, r"rank_range is \(5, 5\)"),
        ({"rank_range": (-1, 5)}, "rank_range"),
        ({"rank_range": (0, 3), "num_negatives": 4}, "at least 4 ranks"),
        ({"relative_margin": -0.5}, "relative_margin is -0.5"),
        ({"relative_margin": 1.5}, "relative_margin"),
        ({"relative_margin": float("nan")}, "relative_margin"),
        ({"absolute_margin": -0.1}, "absolute_margin"),
        ({"sampling": "best"}, "sampling is 'best'"),
        ({"duplicate_similarity": 0}, "duplicate_similarity"),
    ],
)
def test_options_out_of_range(plane, options, message):
    with pytest.raises(ConfigurationError, match=message):
        mine(plane, ONE, **options)


def test_broken_input_is_named(plane):
    encoder, corpus = plane
    with pytest.raises(DataError, match="id 'd10' is twice"):
        mine((encoder, [*corpus, document("d10", "x")]), ONE)
    with pytest.raises(DataError, match="no text"):
        mine((encoder, [document(1, "")]), ONE)
    encoder.known["d10"] = np.full(4, np.nan)
    with pytest.raises(EncodingError, match="NaN"):
        mine(plane, ONE)
    assert mine((FakeEncoder(), corpus))[0] == []


WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)


@st.composite
def problems(draw):
    """Pairs and a corpus of few words: shared anchors, positives in the corpus, copies of all kinds."""
    pairs = draw(
        st.lists(
            st.builds(Pair, anchor=TEXTS, positive=TEXTS, negatives=st.lists(TEXTS, max_size=2).map(tuple)),
            min_size=1,
            max_size=6,
        )
    )
    texts = draw(st.lists(st.tuples(st.sampled_from(["", "Alpha", "nu"]), TEXTS), min_size=1, max_size=25))
    corpus = [document(number, text, title) for number, (title, text) in enumerate(texts)]
    options = {
        "num_negatives": draw(st.integers(1, 4)),
        "rank_range": (first := draw(st.integers(0, 6)), first + draw(st.integers(4, 20))),
        "relative_margin": draw(st.sampled_from([0.5, 0.1, 0.05, 0.0])),
        "absolute_margin": draw(st.sampled_from([0.0, 0.1, 0.3])),
        "duplicate_similarity": draw(st.sampled_from([0.9, 0.99, 2.0])),
    }
    return pairs, corpus, options


def expected(pairs, corpus, options):
    encoder = FakeEncoder()
    rules = {name: value for name, value in options.items() if name not in ("num_negatives", "rank_range")}
    first, end = options["rank_range"]
    return reference.mine(pairs, corpus, encoder.vector, first=first, end=end, **rules)


def near_a_limit(pairs, corpus, options):
    """Tell whether float32 could see one of the limits from another side than float64."""
    vector = FakeEncoder().vector
    for pair in pairs:
        positive = reference.cosine(vector(pair.anchor), vector(pair.positive))
        limits = [
            positive - options["relative_margin"] * abs(positive),
            positive - options["absolute_margin"],
        ]
        for found in corpus:
            similarity = reference.cosine(vector(pair.anchor), vector(found.content))
            if any(abs(similarity - limit) < 1e-5 for limit in limits) and found.content != pair.positive:
                return True
    return False


@settings(deadline=None)
@given(problems(), st.integers(1, 5), st.integers(1, 3))
def test_the_top_candidates_are_those_of_the_naive_reference(problem, window, anchors_at_once):
    pairs, corpus, options = problem
    assume(not near_a_limit(*problem))
    allowed = expected(pairs, corpus, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_ENCODED_AT_ONCE", window)
        patch.setattr(mining_module, "_SEARCHED_AT_ONCE", anchors_at_once)
        patch.setattr(exact_search, "_QUERY_BLOCK", 2)
        mined, report = mine_hard_negatives(pairs, corpus, FakeEncoder(), **options)
    for before, after, passed in zip(pairs, mined, allowed, strict=True):
        best = passed[: options["num_negatives"]]
        assert after.negatives == (*before.negatives, *(found.content for found, _ in best))
        if best:
            assert after.candidate_scores[-len(best) :] == pytest.approx([s for _, s in best], abs=1e-5)
        else:
            assert after == before
    assert report.mined == sum(
        len(after.negatives) - len(before.negatives) for before, after in zip(pairs, mined, strict=True)
    )
    excluded = report.known_positives + report.near_duplicates + report.too_similar + report.repeated
    assert report.candidates - excluded == sum(map(len, allowed))


@settings(deadline=None)
@given(problems(), st.integers(0, 5))
def test_whatever_is_drawn_holds_the_guards_and_is_drawn_again(problem, seed):
    pairs, corpus, options = problem
    encoder = FakeEncoder()
    mined, _ = mine_hard_negatives(pairs, corpus, encoder, sampling="random", seed=seed, **options)
    again, _ = mine_hard_negatives(pairs, iter(corpus), encoder, sampling="random", seed=seed, **options)
    assert mined == again
    for before, after in zip(pairs, mined, strict=True):
        new = after.negatives[len(before.negatives) :]
        assert len(new) <= options["num_negatives"]
        if not new:
            continue
        found = [
            reference.cosine(encoder.vector(after.anchor), encoder.vector(text))
            for text in (after.positive, *after.negatives)
        ]
        assert after.candidate_scores == pytest.approx(found, abs=1e-5)
        known = [p.positive for p in pairs if reference.same(p.anchor, after.anchor)]
        for text, score in zip(new, found[-len(new) :], strict=True):
            assert not any(reference.same(text, positive) for positive in known)
            assert score <= found[0] - options["absolute_margin"] + 1e-5
            assert score <= found[0] - options["relative_margin"] * abs(found[0]) + 1e-5
            closest = max(reference.cosine(encoder.vector(text), encoder.vector(p)) for p in known)
            assert closest < options["duplicate_similarity"] + 1e-5


def test_random_candidates_do_not_depend_on_other_pairs_but_on_the_seed():
    corpus = [document(number, f"text {number}") for number in range(60)]
    encoder = FakeEncoder()
    pairs = [Pair(anchor=f"anchor {number}", positive=f"positive {number}") for number in range(20)]
    options = {"sampling": "random", "num_negatives": 3, "duplicate_similarity": 2.0}

    def mined(seed, pairs):
        return mine_hard_negatives(pairs, corpus, encoder, seed=seed, **options)[0]

    assert mined(1, pairs)[5:] == mined(1, pairs[5:])
    assert mined(1, pairs) != mined(2, pairs)
    top, _ = mine_hard_negatives(pairs, corpus, encoder, **(options | {"sampling": "top"}))
    assert mined(1, pairs) != top


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0, 0.05))
def test_planted_near_copies_of_a_positive_are_never_negatives(seed, noise):
    rng = np.random.default_rng(seed)
    encoder = FakeEncoder({"anchor": rng.normal(size=8), "positive": rng.normal(size=8)})
    names = [f"copy {number}" for number in range(5)]
    for name in names:
        shift = rng.normal(size=8)
        shift *= noise * np.linalg.norm(encoder.known["positive"]) / np.linalg.norm(shift)
        encoder.known[name] = (encoder.known["positive"] + shift) * rng.uniform(0.1, 9)
    encoder.known |= {f"other {number}": rng.normal(size=8) for number in range(20)}
    corpus = [document(name, name) for name in (*names, *(f"other {number}" for number in range(20)))]
    (pair,), report = mine_hard_negatives(
        [Pair(anchor="anchor", positive="positive")], corpus, encoder, num_negatives=20, relative_margin=0
    )
    assert report.near_duplicates >= 5
    assert not set(pair.negatives) & set(names)
