"""Tuning on a real server: what is chosen, that the server does what was computed, and the two commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from typer.testing import CliRunner

from cl_haystack.cli.main import app
from cl_haystack.errors import ConfigurationError
from cl_haystack.evaluation.metrics import evaluate_run
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.tuning import tune_hybrid
from cl_haystack.progress import Progress
from tests.opensearch_fakes import tiny_bundle
from tests.opensearch_versions import on_every_version
from tests.unit.cli.test_evaluate import bundle, checkpoint, task_directory

__all__ = ["bundle", "checkpoint", "task_directory"]

pytestmark = pytest.mark.integration

NUM_DOCUMENTS, NUM_QUERIES, DIMENSION = 300, 20, 12
WORDS = [f"word{number}" for number in range(60)]


class PlantedEncoder:
    """Stands for a model: a query's vector is its document's with so much noise."""

    def __init__(self, vectors: Any, noise: float) -> None:
        rng = np.random.default_rng(4)
        self.rows = vectors + rng.normal(size=vectors.shape) * noise
        self.rows = (self.rows / np.linalg.norm(self.rows, axis=1, keepdims=True)).astype(np.float32)

    def encode_queries(self, texts: Any, **_: Any) -> Any:
        return self.rows[[int(text.rsplit(" ", 1)[1]) for text in texts]]


@on_every_version
@pytest.mark.parametrize(("noise", "shards", "better"), [(0.3, 1, "vectors"), (2.0, 5, "words")])
def test_the_better_leg_gets_the_weight_and_the_server_gives_what_was_computed(
    make_index: Any, noise: float, shards: int, better: str
) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(NUM_DOCUMENTS, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents = [" ".join(rng.choice(WORDS, size=rng.integers(4, 15))) for _ in range(NUM_DOCUMENTS)]
    index: OpenSearchIndex = make_index(tiny_bundle(DIMENSION), settings={"number_of_shards": shards})
    index_documents(
        [
            Document(id=str(number), content=content, embedding=vectors[number].tolist())
            for number, content in enumerate(contents)
        ],
        index,
        None,
    )
    queries = {}
    for number in range(NUM_QUERIES):  # two words of a query are in its document
        words = [*contents[number].split()[:2], *rng.choice(WORDS, size=3)]
        queries[f"q{number}"] = f"{' '.join(words)} {number}"
    qrels = {f"q{number}": {str(number): 1} for number in range(NUM_QUERIES)}
    encoder = PlantedEncoder(vectors, noise)
    steps: list[Progress] = []
    report = tune_hybrid(index, encoder, queries, qrels, dataset="planted", on_progress=steps.append)
    bm25, dense = report.settings.weights
    assert (dense > bm25) == (better == "vectors")
    assert report.comparison.mean >= report.comparison.baseline_mean
    assert report.tried[0][1] == pytest.approx(report.comparison.mean)
    assert steps[-1].done == steps[-1].total
    assert index.hybrid_settings() is None  # nothing is kept before somebody says so
    for settings in (report.settings, *dict(report.tried)):
        index.keep_hybrid_settings(settings)
        answers = index.search_many(
            queries=list(queries.values()), query_embeddings=encoder.encode_queries(list(queries.values()))
        )
        run = {
            query: {hit.id: hit.score for hit in hits} for query, hits in zip(queries, answers, strict=True)
        }
        expected = dict(report.tried).get(settings, report.comparison.mean)
        assert evaluate_run(qrels, run)["ndcg@10"] == pytest.approx(expected, abs=1e-6)


def cli(*arguments: Any) -> str:
    """Run a verb in this process; an error arrives as an exception."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_commands_tune_and_find_duplicates(
    opensearch_url: str, index_name: str, bundle: Path, task_directory: Path, tmp_path: Path
) -> None:
    where = ("--index", index_name, "--url", opensearch_url)
    corpus = (task_directory / "corpus.jsonl").read_text()
    copied = json.loads(corpus.splitlines()[0]) | {"_id": "copy"}
    (tmp_path / "corpus.jsonl").write_text(f"{corpus.rstrip()}\n{json.dumps(copied)}\n")
    cli("index", bundle, tmp_path / "corpus.jsonl", *where)
    assert "kept nowhere" in cli("tune", bundle, task_directory, *where, "--split", "test", "--dry-run")
    index = OpenSearchIndex(opensearch_url, index_name, bundle)
    assert index.hybrid_settings() is None
    options = ("--split", "test", "--metric", "recall@1")
    settings = json.loads(cli("tune", bundle, task_directory, *where, *options, "--json"))["settings"]
    kept = index.hybrid_settings()
    assert kept is not None
    assert kept.stored() == settings
    assert (settings["tuned"]["metric"], settings["tuned"]["queries"]) == ("recall@1", 10)
    index.close()
    for metric in ("ndcg", "speed@10", "ndcg@x", "ndcg@0"):
        with pytest.raises(ConfigurationError, match="such as ndcg@10"):
            cli("tune", bundle, task_directory, *where, "--split", "test", "--metric", metric)

    groups = json.loads(cli("duplicates", bundle, *where, "--threshold", "0.9999", "--json"))
    assert [copied["_id"], json.loads(corpus.splitlines()[0])["_id"]] in [sorted(g["ids"]) for g in groups]
    assert "documents in" in cli("duplicates", bundle, *where, "--threshold", "0.9999").splitlines()[-1]
    with pytest.raises(ConfigurationError, match="no calibrated threshold 'duplicate'"):
        cli("duplicates", bundle, *where)
