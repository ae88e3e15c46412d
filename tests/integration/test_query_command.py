"""``cl-haystack query``: what its options find, and what it says of wrong ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from typer.testing import CliRunner

from cl_haystack import Encoder
from cl_haystack.cli.main import app
from cl_haystack.errors import ConfigurationError, SpaceMismatchError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from tests.opensearch_fakes import tiny_bundle
from tests.unit.cli.test_evaluate import ANIMALS, bundle, checkpoint, task_directory
from tests.unit.encoder.test_processes import edited

__all__ = ["bundle", "checkpoint", "task_directory"]

pytestmark = pytest.mark.integration

NAME = "test-query-command"


@pytest.fixture(scope="module")
def filled(opensearch_url: str, bundle: Path) -> Iterator[OpenSearchIndex]:
    """Twenty documents, half of them English, with text that looks like markup."""
    index = OpenSearchIndex(opensearch_url, NAME, bundle)
    index.delete()
    documents = [
        Document(
            id=f"d{number}",
            content=f"the {ANIMALS[number % 10]} [/b] [red]{number}",
            meta={"lang": "en" if number % 2 else "de", "year": 2000 + number},
        )
        for number in range(20)
    ]
    index_documents(documents, index, Encoder.load(bundle))
    yield index
    index.delete()
    index.close()


def call(*arguments: Any, status: int = 0) -> str:
    """Run the verb in this process; an error of ours arrives as an exception."""
    # Wide, so that no message is broken.
    runner = CliRunner(env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    done = runner.invoke(app, ["query", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.output


def test_filters_thresholds_diversity_and_exact_search(filled: OpenSearchIndex, bundle: Path) -> None:
    base = (bundle, "the cat", "--index", NAME, "--url", filled.connection.url)

    def found(*options: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(call(*base, *options, "--json"))
        return answer

    def scores(hits: list[dict[str, Any]]) -> list[float]:
        return [hit["score"] for hit in hits]

    whole = found("--top-k", 20)
    assert len(whole) == 20
    recent = ("--filters", "meta.lang == en", "--filters", "meta.year >= 2010")
    for mode in ("dense", "bm25", "hybrid"):
        hits = found("--mode", mode, "--top-k", 20, *recent)
        assert {hit["id"] for hit in hits} == {f"d{number}" for number in range(11, 20, 2)}
    least = whole[6]["score"] - 1e-6
    near = found("--min-score", least, "--top-k", 20)
    assert [hit["id"] for hit in near] == [hit["id"] for hit in whole if hit["score"] >= least]
    # Scores differ in the last digit between the two.
    assert scores(found("--min-score", least, "--exact")) == pytest.approx(scores(near), abs=1e-6)
    assert scores(found("--exact")) == pytest.approx(scores(whole[:10]), abs=1e-6)
    vector = Encoder.load(bundle).encode_queries(["the cat"])[0]
    diverse = [hit.id for hit in filled.search(vector, diversity=0.9)]
    assert [hit["id"] for hit in found("--diversity", 0.9)] == diverse != [hit["id"] for hit in whole[:10]]
    assert "[/b] [red]" in call(*base)  # text is shown as it is
    assert call(*base, "--filters", "meta.lang == xx").strip() == "nothing found"


def test_wrong_options_are_explained(filled: OpenSearchIndex, bundle: Path) -> None:
    base = (bundle, "the cat", "--index", NAME, "--url", filled.connection.url)
    assert "'meta.year >= 2020'" in call(*base, "--filters", "lang is en", status=2)
    assert "use --mode dense" in call(*base, "--mode", "hybrid", "--min-score", "0.5", status=2)
    assert "use --mode dense" in call(*base, "--mode", "bm25", "--exact", status=2)
    assert "leave one of them out" in call(*base, "--min-score", "0.5", "--diversity", "0.5", status=2)
    assert "leave one of them out" in call(*base, "--mode", "bm25", "--diversity", "0.5", status=2)
    with pytest.raises(ConfigurationError, match=r"no calibrated threshold 'duplicate'.*evaluate"):
        call(*base, "--min-score", "duplicate")


def test_every_verb_that_searches_takes_an_index_of_cut_vectors(
    opensearch_url: str, index_name: str, bundle: Path, task_directory: Path, tmp_path: Path
) -> None:
    matryoshka = edited(bundle, tmp_path / "bundle", matryoshka_dimensions=(4,))
    where = ("--index", index_name, "--url", opensearch_url)

    def run(*arguments: Any) -> str:
        done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("index", matryoshka, task_directory / "corpus.jsonl", *where, "--truncate-dim", "4")
    query = json.loads(run("query", matryoshka, "the cat cat", *where, "--json"))
    index = OpenSearchIndex(opensearch_url, index_name, matryoshka, settings={"truncate_dim": 4})
    vector = Encoder.load(matryoshka, truncate_dim=4).encode_queries(["the cat cat"])[0]
    assert [hit["id"] for hit in query] == [hit.id for hit in index.search(vector)]
    index.close()
    assert json.loads(run("duplicates", matryoshka, *where, "--threshold", "1.0", "--json")) is not None
    assert "settings" in run("tune", matryoshka, task_directory, *where, "--split", "test", "--json")
    evaluated = json.loads(run("evaluate", matryoshka, task_directory, *where, "--json"))
    assert evaluated["metrics"]["recall@100"] == 1
    pairs, mined = tmp_path / "pairs.jsonl", tmp_path / "mined.jsonl"
    pairs.write_text('{"anchor": "cat on the on", "positive": "the cat on the on"}')
    margins = ("--relative-margin", "0", "--absolute-margin", "0")
    options = ("--model", matryoshka, *where, *margins, "-o", mined)
    run("mine", pairs, task_directory / "corpus.jsonl", *options)
    assert json.loads(mined.read_text())["negatives"]


def test_an_index_of_another_model_is_refused_though_its_vectors_are_cut(
    opensearch_url: str, index_name: str, bundle: Path
) -> None:
    other = tiny_bundle(matryoshka_dimensions=(4,))
    OpenSearchIndex(opensearch_url, index_name, other, settings={"truncate_dim": 4}).create()
    with pytest.raises(SpaceMismatchError, match="4 of 8 dimensions"):
        call(bundle, "the cat", "--index", index_name, "--url", opensearch_url)
