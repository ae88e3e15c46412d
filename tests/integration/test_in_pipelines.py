"""The components where Haystack puts them: pipelines of every kind, wrappers, an agent; what they leave."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from haystack import Document, Pipeline, SuperComponent, component
from haystack.components.agents import Agent
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers import MultiRetriever, TextEmbeddingRetriever
from haystack.core.errors import PipelineRuntimeError
from haystack.dataclasses import ChatMessage, ToolCall
from haystack.document_stores.types import DuplicatePolicy
from haystack.tools import ComponentTool

from cl_haystack import (
    CLDocumentEmbedder,
    CLOpenSearchDuplicateRetriever,
    CLOpenSearchHybridRetriever,
    CLOpenSearchRetriever,
    CLOpenSearchWriter,
    CLTextEmbedder,
    OpenSearchIndex,
)
from cl_haystack.errors import IndexingError, ServerUnavailableError
from tests.unit.cli.test_evaluate import bundle, checkpoint

__all__ = ["bundle", "checkpoint"]

# MultiRetriever is experimental, and says so.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:.*experimental")]

NAME = "test-in-pipelines"
QUERY = "the cat"
MakeIndex = Callable[..., OpenSearchIndex]


@pytest.fixture(scope="module")
def filled(opensearch_url: str, bundle: Any) -> Iterator[OpenSearchIndex]:
    index = OpenSearchIndex(opensearch_url, NAME, bundle)
    index.delete()
    animals = ["cat", "dog", "mat", "house"]
    documents = [
        Document(
            id=f"d{number}",
            content=f"the {animals[number % 4]} {chr(ord('a') + number) * 3}",
            meta={"n": number},
        )
        for number in range(24)
    ]
    documents.append(Document(id="copy", content="the cat aaa", meta={"n": 0}))
    CLOpenSearchWriter(index).run(documents)
    yield index
    index.delete()
    index.close()


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


def search_pipeline(index: OpenSearchIndex) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", CLTextEmbedder(index.bundle_path))
    pipeline.add_component("dense", CLOpenSearchRetriever(index, top_k=4))
    pipeline.add_component("hybrid", CLOpenSearchHybridRetriever(index, top_k=4))
    pipeline.add_component("join", DocumentJoiner())
    pipeline.connect("embedder.embedding", "dense.query_embedding")
    pipeline.connect("embedder.embedding", "hybrid.query_embedding")
    pipeline.connect("dense.documents", "join.documents")
    pipeline.connect("hybrid.documents", "join.documents")
    return pipeline


def test_every_way_to_run_a_pipeline_gives_the_same(filled: OpenSearchIndex) -> None:
    pipeline = search_pipeline(filled)
    data = {"embedder": {"text": QUERY}, "hybrid": {"query": QUERY}}
    expected = pipeline.run(data, include_outputs_from={"dense", "hybrid"})
    assert len(expected["dense"]["documents"]) == len(expected["hybrid"]["documents"]) == 4

    async def run() -> tuple[Any, list[Any]]:
        whole = await pipeline.run_async(data, include_outputs_from={"dense", "hybrid"})
        parts = [part async for part in pipeline.run_async_generator(data, include_outputs_from={"dense"})]
        await pipeline.close_async()
        return whole, parts

    whole, parts = asyncio.run(run())
    assert whole == expected
    assert parts[-1]["join"] == expected["join"]
    assert any("dense" in part and part["dense"] == expected["dense"] for part in parts)
    pipeline.close()


def indexing_pipeline(index: OpenSearchIndex) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embed", CLDocumentEmbedder(index.bundle_path, progress_bar=False))
    pipeline.add_component("write", CLOpenSearchWriter(index, policy=DuplicatePolicy.OVERWRITE))
    pipeline.add_component("same", CLOpenSearchDuplicateRetriever(index, threshold=0.9999))
    pipeline.connect("embed.documents", "write.documents")
    pipeline.connect("write.documents_written", "same.top_k")  # so that it looks when all is written
    return pipeline


def test_writing_and_duplicates_in_every_way_to_run_a_pipeline(make_index: MakeIndex, bundle: Any) -> None:
    index = make_index(bundle)
    pipeline = indexing_pipeline(index)
    documents = [Document(id=name, content=f"the cat {text}") for name, text in [("a", "x"), ("b", "x")]]
    data = {"embed": {"documents": documents}}
    expected = pipeline.run(data, include_outputs_from={"write"})
    assert expected["write"] == {"documents_written": 2}
    assert [ids(group) for group in expected["same"]["groups"]] == [["a", "b"]]

    async def run() -> tuple[Any, list[Any]]:
        whole = await pipeline.run_async(data, include_outputs_from={"write"})
        parts = [part async for part in pipeline.run_async_generator(data, include_outputs_from={"write"})]
        await pipeline.close_async()
        return whole, parts

    whole, parts = asyncio.run(run())
    assert whole == expected
    assert next(part["write"] for part in parts if "write" in part) == expected["write"]
    assert parts[-1]["same"] == expected["same"]
    super_component = SuperComponent(
        pipeline=pipeline,
        input_mapping={"documents": ["embed.documents"]},
        output_mapping={"write.documents_written": "written", "same.groups": "groups"},
    )
    outside = Pipeline()
    outside.add_component("index", super_component)
    outside = Pipeline.loads(outside.dumps())
    found = outside.run({"index": {"documents": documents}})["index"]
    assert found == {"written": 2, "groups": expected["same"]["groups"]}
    outside.close()


def test_inside_haystacks_own_retrievers_and_a_super_component(filled: OpenSearchIndex) -> None:
    dense, hybrid = CLOpenSearchRetriever(filled, top_k=4), CLOpenSearchHybridRetriever(filled, top_k=4)
    expected = ids(dense.run(query=QUERY)["documents"])
    wrapped = TextEmbeddingRetriever(retriever=dense, text_embedder=CLTextEmbedder(filled.bundle_path))
    multi = MultiRetriever(retrievers={"dense": wrapped, "text": dense, "hybrid": hybrid}, top_k=6)
    assert ids(wrapped.run(query=QUERY)["documents"]) == expected
    merged = multi.run(query=QUERY)["documents"]
    assert len(merged) == min(6, len({*expected, *ids(hybrid.run(query=QUERY)["documents"])}))
    assert set(expected) & set(ids(merged))
    assert ids(multi.run(query=QUERY, active_retrievers=["text"])["documents"]) == expected
    few = {"field": "meta.n", "operator": "<", "value": 2}
    assert {d.meta["n"] for d in multi.run(query=QUERY, filters=few)["documents"]} == {0, 1}
    whole = SuperComponent(
        pipeline=search_pipeline(filled),
        input_mapping={"query": ["embedder.text", "hybrid.query"]},
        output_mapping={"dense.documents": "dense", "join.documents": "documents"},
    )
    outside = Pipeline()
    outside.add_component("search", whole)
    outside = Pipeline.loads(outside.dumps())  # trusted, wherever in the YAML our classes stand
    assert ids(outside.run({"search": {"query": QUERY}})["search"]["dense"]) == expected

    async def run() -> list[list[str]]:
        found = [
            await wrapped.run_async(query=QUERY),
            await multi.run_async(query=QUERY, active_retrievers=["text"]),
        ]
        await multi.close_async()
        return [ids(result["documents"]) for result in found]

    assert asyncio.run(run()) == [expected, expected]
    outside.close()


@component
class FakeChatGenerator:
    """A fake language model: calls the first tool with the question, then answers with what came back."""

    def __init__(self, arguments: Callable[[str], dict[str, Any]]) -> None:
        self.arguments = arguments

    @component.output_types(replies=list[ChatMessage])
    def run(self, messages: list[ChatMessage], tools: Any = None) -> dict[str, list[ChatMessage]]:
        last = messages[-1]
        if last.tool_call_results:
            return {"replies": [ChatMessage.from_assistant(f"found: {last.tool_call_results[0].result}")]}
        call = ToolCall(tool_name=tools[0].name, arguments=self.arguments(last.text or ""))
        return {"replies": [ChatMessage.from_assistant(tool_calls=[call])]}


def reply_of_an_agent(tool: ComponentTool, arguments: Callable[[str], dict[str, Any]]) -> str:
    agent = Agent(chat_generator=FakeChatGenerator(arguments), tools=[tool])
    return str(agent.run(messages=[ChatMessage.from_user(QUERY)])["last_message"].text)


@pytest.mark.parametrize(
    "kind", [CLOpenSearchRetriever, CLOpenSearchHybridRetriever, CLOpenSearchDuplicateRetriever]
)
def test_as_a_tool_of_an_agent(filled: OpenSearchIndex, kind: Any) -> None:
    options = {"threshold": 0.5} if kind is CLOpenSearchDuplicateRetriever else {}
    retriever = kind(filled, **options)
    tool = ComponentTool(component=retriever, name="search", outputs_to_string={"source": "documents"})
    assert "text" in tool.parameters["properties"]["query"]["description"]
    reply = reply_of_an_agent(tool, lambda text: {"query": text, "top_k": 2})
    expected = retriever.run(query=QUERY, top_k=2)["documents"]
    assert len(expected) == 2
    assert all(document.id in reply for document in expected)


def test_embedders_and_writer_as_tools_of_an_agent(make_index: MakeIndex, bundle: Any) -> None:
    def documents(text: str) -> dict[str, Any]:
        return {"documents": [{"id": "told", "content": text}]}

    embedder = CLTextEmbedder(bundle)
    reply = reply_of_an_agent(ComponentTool(component=embedder, name="embed"), lambda text: {"text": text})
    assert str(embedder.run(QUERY)["embedding"][:3])[1:-1] in reply
    reply = reply_of_an_agent(
        ComponentTool(component=CLDocumentEmbedder(bundle, progress_bar=False), name="embed"), documents
    )
    assert '"embedding": [' in reply
    index = make_index(bundle)
    reply = reply_of_an_agent(ComponentTool(component=CLOpenSearchWriter(index), name="remember"), documents)
    assert "documents_written" in reply
    assert ids(index.get_documents(["told"])) == ["told"]


def test_the_duplicate_retriever_finds_one_documents_and_all_groups(filled: OpenSearchIndex) -> None:
    retriever = CLOpenSearchDuplicateRetriever(filled, threshold=0.9999)
    for given in ({"document_id": "d0"}, {"document_id": "copy"}):
        found = retriever.run(**given)
        (other,) = {"d0", "copy"} - set(given.values())
        assert ids(found["documents"]) == [other]
        assert found["groups"] == [found["documents"]]
        assert found["documents"][0].score == pytest.approx(1.0, abs=1e-5)
    text = retriever.run(query="the cat aaa")
    assert set(ids(text["documents"])) == {"d0", "copy"}
    vector = filled.get_documents(["d0"], with_embedding=True)[0].embedding
    assert retriever.run(query_embedding=vector) == text
    assert retriever.run(query="entirely different words")["groups"] == []
    whole = retriever.run()
    assert [ids(group) for group in whole["groups"]] == [["copy", "d0"]]
    assert [d.content for d in whole["documents"]] == ["the cat aaa"] * 2
    assert asyncio.run(retriever.run_async()) == whole
    few = {"field": "meta.n", "operator": ">", "value": 0}
    assert retriever.run(filters=few)["groups"] == []
    with pytest.raises(IndexingError, match="'nowhere' does not exist"):
        retriever.run(document_id="nowhere")
    retriever.close()


def test_a_threshold_is_a_radial_search(filled: OpenSearchIndex) -> None:
    near = CLOpenSearchRetriever(filled, top_k=25).run(query=QUERY)["documents"]
    least = near[7].score
    found = CLOpenSearchRetriever(filled, top_k=25, min_score=least - 1e-6).run(query=QUERY)["documents"]
    assert {d.id for d in found} == {d.id for d in near if d.score >= least - 1e-6}
    component_ = CLOpenSearchRetriever(filled, top_k=3, min_score=least - 1e-6)

    async def run() -> Any:
        result = await component_.run_async(query=QUERY)
        await component_.close_async()
        return result

    assert asyncio.run(run())["documents"] == found[:3]


def connections_to(url: str) -> int:
    port = urlsplit(url).port
    return sum(
        bool(connection.raddr) and connection.raddr.port == port
        for connection in psutil.Process().net_connections("tcp")
    )


def test_closing_leaves_no_socket_and_no_thread(opensearch_url: str, filled: OpenSearchIndex) -> None:
    index = OpenSearchIndex(opensearch_url, NAME, filled.bundle_path)
    pipeline = search_pipeline(index)
    pipeline.add_component("same", CLOpenSearchDuplicateRetriever(index, threshold=0.9))
    pipeline.add_component("write", CLOpenSearchWriter(index, policy=DuplicatePolicy.SKIP))
    data = {
        "embedder": {"text": QUERY},
        "hybrid": {"query": QUERY},
        "same": {"document_id": "d0"},
        "write": {"documents": [Document(id="d0", content="there already")]},
    }
    pipeline.run(data)  # the first run of all starts Haystack's own telemetry
    pipeline.close()
    filled.close()
    gc.collect()
    sockets, threads, native = (
        connections_to(opensearch_url),
        set(threading.enumerate()),
        psutil.Process().num_threads(),
    )
    assert pipeline.run(data)["write"] == {"documents_written": 0}
    assert connections_to(opensearch_url) > sockets
    pipeline.close()

    async def run() -> int:
        await asyncio.gather(*(pipeline.run_async(data) for _ in range(4)))
        opened = connections_to(opensearch_url)
        await pipeline.close_async()
        return opened

    assert asyncio.run(run()) > sockets
    gc.collect()
    assert connections_to(opensearch_url) == sockets
    assert set(threading.enumerate()) == threads
    assert psutil.Process().num_threads() <= native  # onnxruntime's threads went with the session
    assert pipeline.run(data)["join"]["documents"]  # and everything opens again
    pipeline.close()


def test_a_loop_that_ends_leaves_no_socket_either(opensearch_url: str, filled: OpenSearchIndex) -> None:
    index = OpenSearchIndex(opensearch_url, NAME, filled.bundle_path)
    retriever = CLOpenSearchRetriever(index)
    vector = filled.get_documents(["d0"], with_embedding=True)[0].embedding
    filled.close()
    before = connections_to(opensearch_url)

    async def run() -> int:
        await asyncio.gather(*(retriever.run_async(vector) for _ in range(4)))
        return connections_to(opensearch_url)

    assert asyncio.run(run()) > before
    retriever.close()
    assert connections_to(opensearch_url) == before


def test_one_session_serves_every_component_of_a_bundle(filled: OpenSearchIndex) -> None:
    components = [
        CLTextEmbedder(filled.bundle_path),
        CLDocumentEmbedder(filled.bundle_path),
        CLOpenSearchRetriever(filled),
        CLOpenSearchHybridRetriever(filled),
        CLOpenSearchDuplicateRetriever(filled),
        CLOpenSearchWriter(filled),
    ]
    assert len({id(component_._encoder.load()) for component_ in components}) == 1
    for component_ in components:
        component_.close()


def test_a_server_that_is_away_is_one_clear_error(bundle: Any) -> None:
    index = OpenSearchIndex("http://127.0.0.1:1", "docs", bundle)
    calls: list[Callable[[], Any]] = [
        lambda: CLOpenSearchRetriever(index).run(query="x"),
        lambda: CLOpenSearchRetriever(index, min_score=0.5).run(query="x"),
        lambda: CLOpenSearchHybridRetriever(index).run(query="x"),
        lambda: CLOpenSearchDuplicateRetriever(index, threshold=0.9).run(document_id="x"),
        lambda: CLOpenSearchDuplicateRetriever(index, threshold=0.9).run(),
        lambda: CLOpenSearchWriter(index).run([Document(content="x")]),
        lambda: CLOpenSearchRetriever(index).warm_up(),
        lambda: asyncio.run(CLOpenSearchRetriever(index).run_async(query="x")),
        lambda: asyncio.run(CLOpenSearchHybridRetriever(index).run_async(query="x")),
    ]
    for call in calls:
        with pytest.raises(ServerUnavailableError, match=r"http://127\.0\.0\.1:1: .*opensearch start"):
            call()
    pipeline = Pipeline()
    pipeline.add_component("search", CLOpenSearchRetriever(index))
    with pytest.raises((PipelineRuntimeError, ServerUnavailableError), match="opensearch start"):
        pipeline.run({"search": {"query": "x"}})
