"""Mining from a real index: candidates from the server, guards from the encoder."""

import json

import numpy as np
import pytest
from haystack import Document

from cl_haystack.data import CorpusDocument, Pair, mine_hard_negatives, read_pairs
from cl_haystack.evaluation.live import index_search
from cl_haystack.opensearch import index_documents
from tests.integration.test_evaluate import cli, indexed
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.unit.cli.test_evaluate import bundle, checkpoint, task_directory

__all__ = ["bundle", "checkpoint", "indexed", "task_directory"]

pytestmark = pytest.mark.integration

ANIMALS = ["cat", "dog", "owl", "bee", "eel", "fox", "ant", "elk", "hen", "cod"]
RULES = {"num_negatives": 3, "rank_range": (0, 20), "relative_margin": 0.1}


@pytest.fixture
def filled(make_index):
    """Documents of four animals each, in an index; the encoder that made its vectors."""
    rng = np.random.default_rng(3)
    corpus = [CorpusDocument(f"d{i}", "", " ".join(rng.choice(ANIMALS, size=4))) for i in range(80)]
    encoder = WordEncoder(tiny_bundle(16))
    index = make_index(encoder.bundle)
    index_documents([Document(id=d.id, content=d.content) for d in corpus], index, encoder)
    return corpus, encoder, index


@pytest.fixture
def pairs():
    rng = np.random.default_rng(4)
    drawn = [rng.choice(ANIMALS, size=3, replace=False) for _ in range(30)]
    return [Pair(anchor=f"{a} {b}", positive=f"{a} {b} {c}") for a, b, c in drawn]


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_candidates_of_a_live_index_hold_the_guards(filled, pairs, mode):
    corpus, encoder, index = filled
    search = index_search(index, encoder, mode)
    mined, report = mine_hard_negatives(pairs, corpus, encoder, search=search, **RULES)
    assert report.not_in_corpus == 0
    assert report.with_mined > 10
    contents = {document.id: document.content for document in corpus}
    answers = search([pair.anchor for pair in pairs], 20)
    for pair, answer in zip(mined, answers, strict=True):
        assert set(pair.negatives) <= {contents[document_id] for document_id, _ in answer}
        if pair.negatives:
            texts = encoder.encode_documents([pair.positive, *pair.negatives])
            cosines = texts @ encoder.encode_queries([pair.anchor])[0]
            assert pair.candidate_scores == pytest.approx(tuple(cosines), abs=1e-5)
            assert max(cosines[1:]) <= 0.9 * cosines[0] + 1e-5
            assert not any(set(pair.positive.split()) <= set(text.split()) for text in pair.negatives)


def test_dense_search_of_the_index_mines_what_the_exact_one_mines(filled, pairs):
    corpus, encoder, index = filled
    search = index_search(index, encoder, "dense")
    live, live_report = mine_hard_negatives(pairs, corpus, encoder, search=search, **RULES)
    exact, exact_report = mine_hard_negatives(pairs, corpus, encoder, **RULES)
    assert exact_report.with_mined > 10
    # The same similarities; which of two documents with the same words comes first is up to the search.
    scores = [[pair.candidate_scores for pair in found] for found in (live, exact)]
    for one, other in zip(*scores, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert live_report.mined == exact_report.mined


def test_an_index_that_holds_other_documents_is_told(filled, pairs):
    corpus, encoder, index = filled
    search = index_search(index, encoder, "bm25")
    mined, report = mine_hard_negatives(pairs, corpus[:40], encoder, search=search, **RULES)
    assert report.not_in_corpus > 0
    assert {text for pair in mined for text in pair.negatives} <= {d.content for d in corpus[:40]}


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_the_command_mines_from_an_index(indexed, bundle, task_directory, tmp_path, mode):
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "mined.jsonl"
    pairs.write_text('{"anchor": "the cat cat", "positive": "cat on the on"}\n')
    command = ("mine", pairs, task_directory / "corpus.jsonl", "--model", bundle, "-o", out)
    done = cli(*command, *indexed, "--mode", mode, "--relative-margin", "0", "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["pairs"], counts["not_in_corpus"]) == (1, 0)
    assert counts["known_positives"] == 2  # two documents hold "the", "cat" and "on"
    (pair,) = read_pairs(out)
    assert len(pair.negatives) == counts["mined"] == 1
    assert pair.candidate_scores[1] <= pair.candidate_scores[0]
