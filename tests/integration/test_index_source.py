"""Another index as the input of a job: all of it, as it was, on every version and of any origin."""

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore
from typer.testing import CliRunner

from cl_haystack.cli.main import app
from cl_haystack.encoder import Encoder
from cl_haystack.errors import ConfigurationError, DataError, IndexingError, SpaceMismatchError
from cl_haystack.opensearch import OpenSearchIndex, index_documents, read_documents, records
from cl_haystack.opensearch.content_hash import HASH_FIELD
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import OLDEST, on_every_version

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
METHOD = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}


def corpus(count: int) -> list[Document]:
    return [
        Document(id=f"d{number}", content=f"text number {number}", meta={"n": number})
        for number in range(count)
    ]


def sources(index: OpenSearchIndex) -> dict[str, Any]:
    """What is stored, but for the hash: id → (source, routing)."""
    index.refresh()
    body = {"query": {"match_all": {}}, "size": 10_000, "_source": {"excludes": [HASH_FIELD]}}
    hits = index.connection.client().search(index=index.name, body=body)["hits"]["hits"]
    return {hit["_id"]: (hit["_source"], hit.get("_routing")) for hit in hits}


@pytest.fixture
def source(make_index: MakeIndex, index_name: str) -> Iterator[OpenSearchIndex]:
    """An index of three shards to read from: documents written twice, deleted, routed, and strange ones."""
    index = make_index(name=f"{index_name}-source", settings={"number_of_shards": 3, "number_of_replicas": 0})
    index_documents(corpus(300), index, WordEncoder(tiny_bundle()))
    client = index.connection.client()
    index_documents(
        [Document(id=f"d{n}", content="again") for n in range(0, 300, 7)], index, WordEncoder(tiny_bundle())
    )
    for number in range(0, 300, 50):
        client.delete(index=index.name, id=f"d{number}")
    client.index(index=index.name, id="routed", routing="r7", body={"id": "routed", "content": "routed"})
    client.index(index=index.name, id="strange", body={"deep": {"a": [{"b": 1.5}]}, "big": 2**60})
    yield index
    index.delete()


@on_every_version
def test_all_of_it_comes_once_as_it_was_whatever_happens_meanwhile(
    source: OpenSearchIndex, make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "FIRST_PAGE", 2)
    monkeypatch.setattr(records, "_FETCHED_AT_ONCE", 5)
    before = sources(source)
    reading = read_documents(source.connection, source.name)
    first = list(itertools.islice(reading, 20))
    client = source.connection.client()
    index_documents(corpus(600)[100:], source, WordEncoder(tiny_bundle()))
    client.delete(index=source.name, id="routed", routing="r7")
    copy = make_index()
    report = index_documents(itertools.chain(first, reading), copy, WordEncoder(tiny_bundle()))
    assert report.read == len(before) == 296
    after = sources(copy)
    assert {name: ({**kept, "embedding": None}, r) for name, (kept, r) in after.items()} == {
        name: ({**kept, "embedding": None}, r) for name, (kept, r) in before.items()
    }
    encoder = WordEncoder(tiny_bundle())
    assert index_documents(read_documents(copy.connection, copy.name), copy, encoder).skipped == 296


@on_every_version
def test_a_point_in_time_that_the_server_forgets_loses_nothing(
    source: OpenSearchIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(records, "FIRST_PAGE", 4)
    monkeypatch.setattr(records, "_FETCHED_AT_ONCE", 4)
    client = source.connection.client()
    seen = []
    for document in read_documents(source.connection, source.name, with_embedding=True):
        if len(seen) % 50 == 10:
            client.delete_all_pits()
        seen.append(document)
    assert "its point in time is gone" in caplog.text
    assert sorted(document.id for document in seen) == sorted(sources(source))
    vectors = {document.id: document.embedding for document in seen}
    assert vectors == {name: kept.get("embedding") for name, (kept, _) in sources(source).items()}
    assert client.get_all_pits()["pits"] == []


@pytest.mark.long
@pytest.mark.parametrize("version", [None, OLDEST])
def test_a_server_that_dies_while_it_is_read_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    from cl_haystack.opensearch.server import LocalOpenSearch

    monkeypatch.setattr(records, "FIRST_PAGE", 20)
    monkeypatch.setattr(records, "_FETCHED_AT_ONCE", 20)
    options: dict[str, Any] = {} if version is None else {"version": version}
    with LocalOpenSearch(data=tmp_path / "data", memory="512m", **options) as server:
        settings = {"number_of_shards": 2, "number_of_replicas": 0}
        with closing(OpenSearchIndex(server.url, "docs", tiny_bundle(), settings=settings)) as index:
            index_documents(corpus(300), index, WordEncoder(tiny_bundle()))
            seen = []
            for document in read_documents(index.connection, "docs"):
                seen.append(document.id)
                if len(seen) == 100:
                    server.nodes[0].kill()
                    threading.Timer(2, server.nodes[0].start).start()
            assert sorted(seen) == sorted(document.id for document in corpus(300))


def test_an_index_that_does_not_keep_its_documents_is_refused(make_index: MakeIndex) -> None:
    index = make_index()
    client = index.connection.client()
    client.indices.create(index=index.name, body={"mappings": {"_source": {"excludes": ["embedding", "n"]}}})
    with pytest.raises(IndexingError, match="does not keep the fields n in _source"):
        read_documents(index.connection, index.name)
    with pytest.raises(IndexingError, match="does not exist"):
        read_documents(index.connection, f"{index.name}-none")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cl_haystack.export import export_bundle
    from tests.tiny_model import make_tiny_checkpoint

    checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return export_bundle(checkpoint, tmp_path_factory.mktemp("bundles") / "tiny", name="tiny").path


@pytest.fixture
def stock(opensearch_url: str, index_name: str, bundle: Path) -> Iterator[OpenSearchDocumentStore]:
    """What opensearch-haystack has written: with vectors of the model, but for one; one without text."""
    store = OpenSearchDocumentStore(
        hosts=opensearch_url, index=f"{index_name}-stock", embedding_dim=16, http_auth=None, method=METHOD
    )
    with Encoder.load(bundle) as encoder:
        vectors = encoder.encode_documents([document.content or "" for document in corpus(120)])
    written = [
        Document(id=document.id, content=document.content, meta=document.meta, embedding=vector.tolist())
        for document, vector in zip(corpus(120), vectors, strict=True)
    ]
    store.write_documents([*written, Document(id="no vector", content="a cat"), Document(id="no text")])
    yield store
    OpenSearchIndex(opensearch_url, store._index, str(bundle)).delete()
    store.close()


@pytest.mark.parametrize("keep", [False, True], ids=["embedded", "kept"])
@on_every_version
def test_the_command_takes_a_stock_index(
    stock: OpenSearchDocumentStore, make_index: MakeIndex, opensearch_url: str, bundle: Path, keep: bool
) -> None:
    index = make_index(str(bundle))
    options = ["index", str(bundle), "--index", index.name, "--url", opensearch_url, "--json"]
    options += ["--from-index", stock._index, *(["--keep-vectors"] if keep else [])]

    def run() -> Any:
        done = CliRunner().invoke(app, options)
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    report = run()
    assert (report["read"], report["written"], report["without_text"]) == (122, 122, 1)
    assert report["embedded"] == (1 if keep else 121)
    stored = sources(index)
    for document in stock.filter_documents():
        kept, _ = stored[document.id]
        assert (kept["content"], kept.get("n")) == (document.content, document.meta.get("n"))
        if document.embedding is not None:
            np.testing.assert_allclose(kept["embedding"], document.embedding, atol=1e-5)
    assert (again := run())["skipped"] == 122
    assert again["embedded"] == 0


def test_the_command_keeps_no_vectors_of_another_model(
    stock: OpenSearchDocumentStore, make_index: MakeIndex, opensearch_url: str, bundle: Path
) -> None:
    client = make_index(str(bundle)).connection.client()
    for number in range(30):  # of 121, and 100 are drawn
        client.update(index=stock._index, id=f"d{number}", body={"doc": {"embedding": [1.0] * 16}})
    index = make_index(str(bundle))
    options = ["index", str(bundle), "--index", index.name, "--keep-vectors", "--from-index"]
    done = CliRunner().invoke(app, [*options, f"{opensearch_url}/{stock._index}", "--url", opensearch_url])
    assert isinstance(done.exception, ConfigurationError)
    assert re.search(r"'d\d+': cosine", str(done.exception))
    assert "leave out --keep-vectors" in str(done.exception)
    assert not index.exists()
    bound = make_index(name=f"{index.name}-bound", bundle=tiny_bundle(16))
    bound.create()
    done = CliRunner().invoke(app, [*options, bound.name, "--url", opensearch_url])
    assert isinstance(done.exception, SpaceMismatchError)
    bound.delete()


@pytest.fixture
def other_server() -> Iterator[tuple[str, list[str | None]]]:
    """A fake of another server, which lets nobody in and notes with which credentials one came."""
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_error(401)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_another_server_gets_the_credentials_of_its_address_alone(
    other_server: tuple[str, list[str | None]], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = other_server
    monkeypatch.setenv("OPENSEARCH_USERNAME", "target")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "secret of the target")
    options = ["index", str(bundle), "--index", "new", "--from-index"]
    refused = CliRunner().invoke(app, [*options, f"http://{address}/old"])
    assert "401" in str(refused.exception)
    assert set(asked) == {None}
    asked.clear()
    CliRunner().invoke(app, [*options, f"http://other:word@{address}/old"])
    assert set(asked) == {"Basic b3RoZXI6d29yZA=="}


def test_broken_lines_of_a_corpus_go_to_the_dead_letters(
    make_index: MakeIndex, opensearch_url: str, bundle: Path, tmp_path: Path
) -> None:
    deep = "1"
    for _ in range(900):
        deep = f'{{"in": {deep}}}'
    broken = {
        "corpus.jsonl:3": '{"_id": "nan", "text": "x", "n": NaN}',
        "corpus.jsonl:4": "no json",
        "corpus.jsonl:5": '{"text": "no id"}',
        "corpus.jsonl:6": '{"_id": "d1", "text": "again"}',
        "type": '{"_id": "type", "text": "x", "n": "no number"}',
        "corpus.jsonl:8": f'{{"_id": "deep", "text": "x", "deep": {deep}}}',  # which cannot be written
    }
    good = [json.dumps({"_id": f"d{number}", "text": "cat", "n": number}) for number in range(9)]
    file, letters = tmp_path / "corpus.jsonl", tmp_path / "dead.jsonl"
    file.write_text("\n".join([*good[:2], *broken.values(), *good[2:]]))
    index = make_index(str(bundle))
    options = ["index", str(bundle), str(file), "--index", index.name, "--url", opensearch_url, "--json"]
    stopped = CliRunner().invoke(app, options)
    assert isinstance(stopped.exception, DataError)
    assert "corpus.jsonl:3: " in str(stopped.exception)
    done = CliRunner().invoke(app, [*options, "--dead-letters", str(letters)])
    assert done.exit_code == 3, (done.output, done.exception)
    report = json.loads(done.stdout)
    assert (report["read"], report["rejected"]) == (15, 6)
    assert set(sources(index)) == {f"d{number}" for number in range(9)}
    lines = {line["id"]: line for line in map(json.loads, letters.read_text().splitlines())}
    assert set(lines) == set(broken)
    assert lines["corpus.jsonl:4"]["document"]["content"].strip() == "no json"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either CORPUS or --from-index"),
        (["corpus.jsonl", "--from-index", "a"], "give either CORPUS or --from-index"),
        (["corpus.jsonl", "--keep-vectors"], "a corpus has none"),
    ],
)
def test_the_command_wants_one_source(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["index", "bundle", "--index", "docs", *arguments])
    assert done.exit_code == 2
    assert said in done.output
