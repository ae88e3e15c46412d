"""The Haystack components without a server: light constructors, the written form, wrong input."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.utils import ComponentDevice, Secret
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore

from cl_haystack import (
    CLDocumentEmbedder,
    CLOpenSearchDuplicateRetriever,
    CLOpenSearchHybridRetriever,
    CLOpenSearchRetriever,
    CLOpenSearchWriter,
    CLTextEmbedder,
    OpenSearchIndex,
)
from cl_haystack.errors import BundleError, ConfigurationError
from haystack_integrations.components.embedders.cl_haystack import component_encoder
from tests.opensearch_fakes import WordEncoder, tiny_bundle

CPU = ComponentDevice.from_str("cpu")


def index() -> OpenSearchIndex:
    return OpenSearchIndex(
        "http://127.0.0.1:1", "docs", "/no/bundle", password=Secret.from_env_var("PW"), timeout_s=3
    )


def every_component() -> list[Any]:
    filters = {"field": "meta.year", "operator": ">", "value": 2000}
    of_embedders: dict[str, Any] = {
        "device": CPU,
        "truncate_dim": 8,
        "prefix": "p",
        "suffix": "s",
        "batch_size": 16,
        "progress_bar": False,
    }
    return [
        CLTextEmbedder("/no/bundle", **of_embedders),
        CLDocumentEmbedder(
            Path("/no/bundle"),
            **of_embedders,
            meta_fields_to_embed=["title"],
            embedding_separator=" | ",
        ),
        CLOpenSearchWriter(
            index(),
            policy=DuplicatePolicy.SKIP,
            meta_fields_to_embed=["title"],
            embedding_separator=" ",
            device=CPU,
        ),
        CLOpenSearchRetriever(
            index(),
            filters=filters,
            top_k=3,
            filter_policy="merge",
            oversample_factor=2.0,
            diversity=0.3,
            candidates=20,
            return_embedding=True,
            device=CPU,
        ),
        CLOpenSearchDuplicateRetriever(
            index(),
            threshold="duplicate",
            filters=filters,
            top_k=3,
            filter_policy="merge",
            return_embedding=True,
            device=CPU,
        ),
        CLOpenSearchHybridRetriever(
            index(),
            filters=filters,
            top_k=3,
            filter_policy=FilterPolicy.MERGE,
            weights=[0.25, 0.75],
            fusion="rrf",
            pagination_depth=50,
            diversity=0.5,
            candidates=9,
            highlight=True,
            return_embedding=True,
            device=CPU,
        ),
    ]


@pytest.fixture
def word_encoder(monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    encoder = WordEncoder(tiny_bundle())
    monkeypatch.setattr(component_encoder, "shared_encoder", lambda path, **_: encoder)
    return encoder


@pytest.mark.parametrize("component", every_component(), ids=lambda component: type(component).__name__)
def test_written_and_read_again_a_component_is_the_same(component: Any) -> None:
    written = component.to_dict()
    again = type(component).from_dict(written)
    assert again.to_dict() == written
    assert component.to_dict() == written  # reading changed nothing
    unset = {name for name, value in written["init_parameters"].items() if value is None}
    assert unset <= {"min_score"}  # all were set, but for what excludes what was set


def test_a_pipeline_with_every_component_survives_yaml() -> None:
    pipeline = Pipeline()
    for number, component in enumerate(every_component()):
        pipeline.add_component(f"c{number}", component)
    text = pipeline.dumps()
    assert Pipeline.loads(text).to_dict() == pipeline.to_dict()


def test_optional_entries_may_be_left_out_of_the_yaml() -> None:
    retriever = CLOpenSearchRetriever.from_dict(
        {
            "type": "haystack_integrations.components.retrievers.cl_haystack.retriever.CLOpenSearchRetriever",
            "init_parameters": {"index": {"name": "docs", "bundle": "b"}},
        }
    )
    assert retriever.to_dict() == CLOpenSearchRetriever(OpenSearchIndex(None, "docs", "b")).to_dict()
    with pytest.raises(ConfigurationError, match="expected the entries of an OpenSearchIndex"):
        CLOpenSearchRetriever.from_dict({"type": "x", "init_parameters": {}})


def test_a_missing_bundle_is_found_at_warm_up_and_not_before() -> None:
    for embedder in (CLTextEmbedder("/no/bundle"), CLDocumentEmbedder("/no/bundle")):
        with pytest.raises(BundleError, match="/no/bundle"):
            embedder.warm_up()


def test_wrong_input_names_the_sibling(word_encoder: WordEncoder) -> None:
    with pytest.raises(TypeError, match=r"expects a string.*list.*CLDocumentEmbedder"):
        CLTextEmbedder("b").run([Document(content="x")])  # type: ignore[arg-type]
    for wrong in ("text", [Document(content="x"), "text"], None):
        with pytest.raises(TypeError, match="CLTextEmbedder"):
            CLDocumentEmbedder("b").run(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="CLOpenSearchRetriever"):
            CLOpenSearchWriter(index()).run(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"neither"):
        CLOpenSearchRetriever(index()).run()
    with pytest.raises(TypeError, match="query_embedding"):
        CLOpenSearchRetriever(index()).run(query=[0.1, 0.2])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give text as query"):
        CLOpenSearchRetriever(index()).run(query_embedding="text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"one of query, .*CLDocumentEmbedder"):
        CLOpenSearchDuplicateRetriever(index()).run(query="text", document_id="x")
    with pytest.raises(TypeError, match=r"document_id as a string.*CLOpenSearchWriter"):
        CLOpenSearchDuplicateRetriever(index()).run(document_id=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="CLOpenSearchRetriever"):
        CLOpenSearchHybridRetriever(index()).run(query=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    [
        CLOpenSearchRetriever,
        CLOpenSearchHybridRetriever,
        CLOpenSearchDuplicateRetriever,
        CLOpenSearchWriter,
    ],
)
def test_a_document_store_in_place_of_an_index_is_explained(kind: Any) -> None:
    store = OpenSearchDocumentStore(hosts="http://127.0.0.1:1")
    with pytest.raises(TypeError, match=r"OpenSearchIndex\(url, name, bundle\).*opensearch-haystack"):
        kind(store)


def test_wrong_options_are_refused_in_the_constructor() -> None:
    with pytest.raises(ConfigurationError, match="top_k"):
        CLOpenSearchRetriever(index(), top_k=0)
    for weights in ((0.5,), (0.5, 0.7), (-0.5, 1.5), (0.2, 0.3, 0.5), 0.5, ("a", "b")):
        with pytest.raises(ConfigurationError, match="weights"):
            CLOpenSearchHybridRetriever(index(), weights=weights)  # type: ignore[arg-type]
    for depth in (0, 10_001, 2.5, True):
        with pytest.raises(ConfigurationError, match="pagination_depth"):
            CLOpenSearchHybridRetriever(index(), pagination_depth=depth)  # type: ignore[arg-type]
    for number in (-3, 0, [1], True, float("nan")):
        with pytest.raises(ConfigurationError, match="min_score is"):
            CLOpenSearchRetriever(index(), min_score=number)  # type: ignore[arg-type]
    for threshold in (None, [1], True, float("inf")):
        with pytest.raises(ConfigurationError, match="threshold is"):
            CLOpenSearchDuplicateRetriever(index(), threshold=threshold)  # type: ignore[arg-type]
    for embedder in (CLTextEmbedder, CLDocumentEmbedder):
        with pytest.raises(TypeError, match=r"bundle is a ModelBundle, .*ModelBundle\.path"):
            embedder(tiny_bundle())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="min_score searches by a threshold"):
        CLOpenSearchRetriever(index(), min_score=0.5, diversity=0.5)
    for diversity in (2, "much"):
        with pytest.raises(ConfigurationError, match=f"diversity is {diversity!r}"):
            CLOpenSearchRetriever(index(), diversity=diversity)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="candidates is 3, expected at least top_k"):
        CLOpenSearchHybridRetriever(index(), diversity=0.5, candidates=3)
    with pytest.raises(ConfigurationError, match="give diversity too"):
        CLOpenSearchRetriever(index(), candidates=30)
    with pytest.raises(ConfigurationError, match="oversample_factor"):
        CLOpenSearchRetriever(index(), oversample_factor=0.1)
    with pytest.raises(ConfigurationError, match="batch_size"):
        CLDocumentEmbedder("b", batch_size=0)
    with pytest.raises(ConfigurationError, match="fusion"):
        CLOpenSearchHybridRetriever(index(), fusion="max")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="mps"):
        CLTextEmbedder("b", device=ComponentDevice.from_str("mps"))
    with pytest.raises(ConfigurationError, match="CUDA_VISIBLE_DEVICES"):
        CLTextEmbedder("b", device=ComponentDevice.from_str("cuda:1"))
    with pytest.raises(TypeError, match="ComponentDevice"):
        CLTextEmbedder("b", device="cpu")  # type: ignore[arg-type]
    assert component_encoder.session_device(ComponentDevice.from_str("cuda:0")) == "cuda"


@pytest.mark.parametrize("top_k", [0, -1, 10_001, "x"])
@pytest.mark.parametrize(
    "kind", [CLOpenSearchRetriever, CLOpenSearchHybridRetriever, CLOpenSearchDuplicateRetriever]
)
def test_a_run_that_asks_for_no_number_of_documents_is_refused(
    kind: Any, top_k: Any, word_encoder: WordEncoder
) -> None:
    with pytest.raises(ConfigurationError, match="top_k is"):
        kind(index()).run(query="text", top_k=top_k)
    with pytest.raises(ConfigurationError, match="top_k is"):
        asyncio.run(kind(index()).run_async(query="text", top_k=top_k))


def test_texts_get_prefix_and_suffix(word_encoder: WordEncoder) -> None:
    result = CLTextEmbedder("b", prefix="<", suffix=">").run("text")
    assert word_encoder.encoded == ["<text>"]
    assert result["embedding"] == WordEncoder(tiny_bundle()).encode_queries(["<text>"])[0].tolist()
    assert result["meta"] == {"model": "tiny", "space_id": "a" * 32, "fingerprint": "b" * 32}


def test_documents_are_replaced_and_never_changed(
    word_encoder: WordEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [
        Document(content="one", meta={"title": "T", "none": None}),
        Document(content="  "),
        Document(id="mine", content="two"),
    ]
    embedder = CLDocumentEmbedder("b", prefix="<", suffix=">", meta_fields_to_embed=["title", "none"])
    result = embedder.run(documents)
    assert word_encoder.encoded == ["<T\none>", "<two>"]
    assert [document.embedding for document in documents] == [None] * 3
    assert [document.id for document in result["documents"]] == [document.id for document in documents]
    assert [document.embedding is None for document in result["documents"]] == [False, True, False]
    assert "Calculating embeddings" in capsys.readouterr().err
    CLDocumentEmbedder("b", progress_bar=False).run(documents)
    assert capsys.readouterr().err == ""


def test_batches_change_nothing_but_how_many_texts_the_encoder_gets(
    word_encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(content=f"text {number}") for number in range(7)]
    whole = CLDocumentEmbedder("b", progress_bar=False).run(documents)
    calls: list[int] = []
    encode = WordEncoder.encode_documents

    def counting(self: WordEncoder, texts: Any, **options: Any) -> Any:
        calls.append(len(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(WordEncoder, "encode_documents", counting)
    assert CLDocumentEmbedder("b", progress_bar=False, batch_size=3).run(documents) == whole
    assert calls == [3, 3, 1]


def test_no_documents_are_no_error(word_encoder: WordEncoder) -> None:
    assert CLDocumentEmbedder("b", progress_bar=False).run([])["documents"] == []


def test_closing_releases_and_the_next_run_loads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(path: Path, device: str, truncate_dim: int | None) -> WordEncoder:
        loads.append(device)
        return WordEncoder(tiny_bundle())

    monkeypatch.setattr(component_encoder, "shared_encoder", load)
    embedder = CLTextEmbedder("b")
    embedder.run("x")
    embedder.run("x")
    assert loads == ["cpu"]
    embedder.close()
    embedder.run("x")
    assert loads == ["cpu", "cpu"]


def test_an_event_loop_goes_on_while_a_model_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded_in: list[threading.Thread] = []

    def load(path: Path, **_: Any) -> WordEncoder:
        loaded_in.append(threading.current_thread())
        return WordEncoder(tiny_bundle())

    monkeypatch.setattr(component_encoder, "shared_encoder", load)
    pipeline = Pipeline()
    pipeline.add_component("text", CLTextEmbedder("b"))
    pipeline.add_component("documents", CLDocumentEmbedder("b", progress_bar=False))
    data = {"text": {"text": "x"}, "documents": {"documents": [Document(content="x")]}}
    asyncio.run(pipeline.run_async(data))
    assert len(loaded_in) == 2
    assert threading.main_thread() not in loaded_in
