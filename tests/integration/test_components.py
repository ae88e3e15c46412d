"""The components on a real server, in pipelines, asynchronous, and out of a YAML in a fresh interpreter."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers import TextEmbeddingRetriever
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack import (
    CLDocumentEmbedder,
    CLOpenSearchDuplicateRetriever,
    CLOpenSearchHybridRetriever,
    CLOpenSearchRetriever,
    CLOpenSearchWriter,
    CLTextEmbedder,
    OpenSearchIndex,
)
from cl_haystack.errors import IndexingError, RejectedDocumentsError, SpaceMismatchError
from haystack_integrations.components.embedders.cl_haystack import component_encoder
from tests.opensearch_fakes import WordEncoder, tiny_bundle

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
EVEN = {"field": "meta.kind", "operator": "==", "value": "even"}


@pytest.fixture
def word_encoder(monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    encoder = WordEncoder(tiny_bundle())
    monkeypatch.setattr(component_encoder, "shared_encoder", lambda path, **_: encoder)
    return encoder


def corpus(count: int = 40) -> list[Document]:
    return [
        Document(
            id=f"d{number}",
            content=f"text number {number}",
            meta={"n": number, "kind": "even" if number % 2 == 0 else "odd"},
        )
        for number in range(count)
    ]


@pytest.fixture
def filled(make_index: MakeIndex, word_encoder: WordEncoder) -> OpenSearchIndex:
    index = make_index()
    assert CLOpenSearchWriter(index).run(corpus()) == {"documents_written": 40}
    word_encoder.encoded.clear()
    return index


def test_the_writer_embeds_what_is_not_embedded_yet(make_index: MakeIndex, word_encoder: WordEncoder) -> None:
    pipeline = Pipeline()
    pipeline.add_component("embedder", CLDocumentEmbedder("b", progress_bar=False))
    pipeline.add_component("writer", CLOpenSearchWriter(make_index(), policy=DuplicatePolicy.OVERWRITE))
    pipeline.connect("embedder", "writer")
    assert pipeline.run({"embedder": {"documents": corpus(5)}})["writer"] == {"documents_written": 5}
    assert len(word_encoder.encoded) == 5  # by the embedder alone
    writer = CLOpenSearchWriter(make_index(), policy=DuplicatePolicy.SKIP)
    assert writer.run(corpus(7)) == {"documents_written": 2}
    assert len(word_encoder.encoded) == 7
    assert asyncio.run(writer.run_async(corpus(8))) == {"documents_written": 1}
    assert make_index().count() == 8


def test_the_writers_default_policy_is_the_document_writers(
    make_index: MakeIndex, word_encoder: WordEncoder
) -> None:
    writer = CLOpenSearchWriter(make_index())
    writer.run(corpus(3))
    with pytest.raises(DuplicateDocumentError):
        writer.run(corpus(3))
    assert writer.run(corpus(3), policy=DuplicatePolicy.OVERWRITE) == {"documents_written": 3}


def test_refused_documents_raise_after_the_rest_was_written(
    make_index: MakeIndex, word_encoder: WordEncoder
) -> None:
    documents = [*corpus(3), Document(id="bad", content="x", embedding=[1.0])]
    with pytest.raises(RejectedDocumentsError, match=r"'bad': carries an embedding of 1 dimensions"):
        CLOpenSearchWriter(make_index()).run(documents)
    assert make_index().count() == 3


def test_text_and_embedding_find_the_same(filled: OpenSearchIndex, word_encoder: WordEncoder) -> None:
    retriever = CLOpenSearchRetriever(filled, top_k=4)
    by_text = retriever.run(query="text number 7")["documents"]
    assert word_encoder.encoded == ["text number 7"]
    embedding = CLTextEmbedder("b").run("text number 7")["embedding"]
    word_encoder.encoded.clear()
    assert retriever.run(query="ignored", query_embedding=embedding)["documents"] == by_text
    assert word_encoder.encoded == []
    assert by_text[0].id == "d7"
    assert len(by_text) == 4
    assert len(retriever.run(query="text", top_k=9)["documents"]) == 9


def test_filters_are_replaced_or_merged(filled: OpenSearchIndex, word_encoder: WordEncoder) -> None:
    small = {"field": "meta.n", "operator": "<", "value": 10}
    for kind in (CLOpenSearchRetriever, CLOpenSearchHybridRetriever):
        replacing = kind(filled, filters=EVEN, top_k=40)
        assert len(replacing.run(query="text")["documents"]) == 20
        assert len(replacing.run(query="text", filters=small)["documents"]) == 10
        merging = kind(filled, filters=EVEN, top_k=40, filter_policy="merge")
        assert len(merging.run(query="text", filters=small)["documents"]) == 5


@pytest.mark.parametrize("kind", [CLOpenSearchRetriever, CLOpenSearchHybridRetriever])
def test_run_equals_run_async(filled: OpenSearchIndex, word_encoder: WordEncoder, kind: Any) -> None:
    component = kind(filled, top_k=5, filters=EVEN)
    expected = component.run(query="text number 8")
    assert len(expected["documents"]) == 5

    async def run_many() -> list[Any]:
        results = await asyncio.gather(*(component.run_async(query="text number 8") for _ in range(20)))
        await component.close_async()
        return list(results)

    assert asyncio.run(run_many()) == [expected] * 20
    assert component.run(query="text number 8") == expected  # usable after closing
    component.close()


def test_the_hybrid_retriever_gives_exactly_top_k(filled: OpenSearchIndex, word_encoder: WordEncoder) -> None:
    retriever = CLOpenSearchHybridRetriever(filled, top_k=10, weights=(0.3, 0.7))
    found = retriever.run(query="text number 7")["documents"]
    assert len(found) == 10
    assert found[0].id == "d7"
    assert found == filled.hybrid_search(
        "text number 7", word_encoder.encode_queries(["text number 7"])[0], weights=(0.3, 0.7)
    )


def test_inside_haystacks_text_embedding_retriever(
    filled: OpenSearchIndex, word_encoder: WordEncoder
) -> None:
    retriever = TextEmbeddingRetriever(
        retriever=CLOpenSearchRetriever(filled, top_k=3), text_embedder=CLTextEmbedder("b")
    )
    assert retriever.run(query="text number 7")["documents"][0].id == "d7"


def test_a_retriever_finds_what_the_writer_before_it_puts_into_a_new_index(
    make_index: MakeIndex, word_encoder: WordEncoder
) -> None:
    retriever = CLOpenSearchRetriever(make_index())
    pipeline = Pipeline()
    pipeline.add_component("writer", CLOpenSearchWriter(make_index()))
    pipeline.add_component("retriever", retriever)
    pipeline.connect("writer.documents_written", "retriever.top_k")
    asyncio.run(retriever.warm_up_async())
    for kind in (CLOpenSearchRetriever, CLOpenSearchHybridRetriever, CLOpenSearchDuplicateRetriever):
        with pytest.raises(IndexingError, match="does not exist"):
            kind(make_index()).run(query="text")
    data = {"writer": {"documents": corpus(5)}, "retriever": {"query": "text number 3"}}
    assert len(pipeline.run(data)["retriever"]["documents"]) == 5


def test_the_model_is_loaded_when_a_text_is_to_be_embedded(
    filled: OpenSearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = filled.get_documents(["d7"], with_embedding=True)[0].embedding
    loads: list[Path] = []

    def load(path: Path, **_: Any) -> WordEncoder:
        loads.append(path)
        return WordEncoder(tiny_bundle())

    monkeypatch.setattr(component_encoder, "shared_encoder", load)
    dense, hybrid = CLOpenSearchRetriever(filled), CLOpenSearchHybridRetriever(filled)
    same = CLOpenSearchDuplicateRetriever(filled, threshold=0.99)
    for component in (dense, hybrid, same):
        component.warm_up()
    assert dense.run(vector)["documents"][0].id == "d7"
    assert hybrid.run("text number 7", query_embedding=vector)["documents"][0].id == "d7"
    assert same.run(document_id="d7")["documents"] == same.run()["documents"] == []
    assert loads == []
    assert dense.run(query="text number 7")["documents"][0].id == "d7"
    assert loads == [filled.bundle_path]


def test_another_models_index_is_refused_before_the_first_search(
    filled: OpenSearchIndex, make_index: MakeIndex, word_encoder: WordEncoder
) -> None:
    swapped = make_index(tiny_bundle(name="other", space="c"))
    for component in (CLOpenSearchRetriever(swapped), CLOpenSearchHybridRetriever(swapped)):
        with pytest.raises(SpaceMismatchError):
            component.warm_up()
        with pytest.raises(SpaceMismatchError):
            component.run(query="text")
    with pytest.raises(SpaceMismatchError):
        CLOpenSearchWriter(swapped).run(corpus(1))


RUN_YAML = """
import sys
from haystack import Pipeline
with open(sys.argv[1]) as file:
    pipeline = Pipeline.load(file)
question = "capital of France"
result = pipeline.run(
    {"embedder": {"text": question}, "hybrid": {"query": question}, "same": {"query": "Cats sleep a lot"}}
)
for name in ("dense", "hybrid", "same"):
    print(name, len(result[name]["documents"]), result[name]["documents"][0].content)
assert "cl_haystack.training" not in sys.modules
assert "transformers" not in sys.modules
"""


def test_a_yaml_runs_in_a_fresh_interpreter_with_nothing_but_haystack(
    base_bundle: Path, make_index: MakeIndex, tmp_path: Path, opensearch_url: str
) -> None:
    index = make_index(base_bundle)
    texts = ["Berlin is the capital of Germany", "Paris is the capital of France", "Cats sleep a lot"]
    CLOpenSearchWriter(index).run([Document(content=text) for text in texts])
    pipeline = Pipeline()
    pipeline.add_component("embedder", CLTextEmbedder(base_bundle))
    pipeline.add_component("dense", CLOpenSearchRetriever(index, top_k=2))
    pipeline.add_component("hybrid", CLOpenSearchHybridRetriever(index, top_k=3))
    pipeline.add_component("same", CLOpenSearchDuplicateRetriever(index, threshold=0.95))
    pipeline.connect("embedder.embedding", "dense.query_embedding")
    file = tmp_path / "pipeline.yaml"
    with file.open("w") as stream:
        pipeline.dump(stream)
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("HAYSTACK", "OPENSEARCH"))
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_YAML, str(file)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.stdout.splitlines() == [
        f"dense 2 {texts[1]}",
        f"hybrid 3 {texts[1]}",
        f"same 1 {texts[2]}",
    ], done.stderr
    assert done.returncode == 0
    pipeline.close()
