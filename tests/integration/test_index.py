"""An index and its model on a real server: made, opened, swapped, moved."""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from haystack import Document
from opensearchpy import OpenSearch

from cl_haystack.errors import ConfigurationError, IndexingError, ServerUnavailableError, SpaceMismatchError
from cl_haystack.opensearch import IndexBinding, OpenSearchIndex, index_documents
from cl_haystack.opensearch.bound_index import RECHECK_AFTER_S
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import on_every_version

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
VECTOR = [1.0, 0, 0, 0, 0, 0, 0, 0]


def raw(index: OpenSearchIndex) -> Any:
    return index.connection.client()


def test_a_new_index_carries_its_binding_and_opens_again(make_index: MakeIndex) -> None:
    index = make_index()
    assert not index.exists()
    index.create()
    assert index.exists()
    assert make_index().open() == IndexBinding.of(tiny_bundle())
    mapping = raw(index).indices.get_mapping(index=index.name)[index.name]["mappings"]
    assert mapping["properties"]["embedding"]["method"]["space_type"] == "cosinesimil"
    with pytest.raises(IndexingError, match="exists already"):
        index.create()


def test_many_that_make_the_same_index_at_once_all_succeed(make_index: MakeIndex) -> None:
    indices = [make_index() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: index.ensure(), indices))
    assert indices[0].open() is not None


@on_every_version
def test_another_model_is_refused_at_query_and_at_write(make_index: MakeIndex) -> None:
    make_index().create()
    swapped = tiny_bundle(name="other", space="c")
    for use in (
        lambda index: index.open(),
        lambda index: index.ensure(),
        lambda index: index.search(VECTOR),
        lambda index: index.bm25("x"),
        lambda index: index.hybrid_search("x", VECTOR),
        lambda index: index.search_many(query_embeddings=[VECTOR]),
        lambda index: index_documents([Document(content="x")], index, WordEncoder(swapped)),
    ):
        with pytest.raises(SpaceMismatchError, match=r"'tiny'.*'other'"):
            use(make_index(swapped))
    right = make_index()
    with pytest.raises(SpaceMismatchError):  # the right index object, the wrong encoder
        index_documents([Document(content="x")], right, WordEncoder(swapped))
    right.refresh()
    assert right.count() == 0


def test_another_dimension_is_refused(make_index: MakeIndex) -> None:
    make_index().create()
    with pytest.raises(SpaceMismatchError, match=r"8 dimensions.*16 dimensions"):
        make_index(tiny_bundle(16)).open()


@on_every_version
def test_another_precision_of_the_same_model_writes_and_is_recorded(make_index: MakeIndex) -> None:
    make_index().create()
    int8 = tiny_bundle(fingerprint="d", precision="int8")
    report = index_documents([Document(content="x")], make_index(int8), WordEncoder(int8))
    assert report.written == 1
    binding = make_index().open()
    assert binding is not None
    assert binding.fingerprints == {"b" * 32: "fp32", "d" * 32: "int8"}
    assert [document.content for document in make_index().search(VECTOR)] == ["x"]


def test_an_index_made_again_by_another_model_is_noticed(make_index: MakeIndex) -> None:
    index, swapped = make_index(), tiny_bundle(name="other", space="c")
    index_documents([Document(content="x")], index, WordEncoder(tiny_bundle()))
    assert len(index.search(VECTOR)) == 1
    again = make_index(swapped)
    again.delete()
    index_documents([Document(content="y")], again, WordEncoder(swapped))
    time.sleep(RECHECK_AFTER_S)
    for use in (
        lambda: index.search(VECTOR),
        lambda: index.existing_ids([{"_id": "1"}]),
        lambda: index.check_answer([index.name]),  # what a job does with each answer
    ):
        with pytest.raises(SpaceMismatchError, match=r"'other'.*'tiny'"):
            use()


def test_truncated_vectors_are_stored_found_and_never_mixed(make_index: MakeIndex) -> None:
    bundle = tiny_bundle(16, matryoshka_dimensions=(8,))
    short = WordEncoder(bundle, truncate_dim=8)
    index = make_index(bundle, settings={"truncate_dim": 8})
    index_documents([Document(content="x"), Document(content="y")], index, short)
    assert index.search(short.encode_queries(["x"])[0], top_k=1)[0].content == "x"
    with pytest.raises(IndexingError, match=r"shape \(16,\), expected \(8,\)"):
        index.search([1.0] * 16)
    with pytest.raises(IndexingError, match=r"shape \(1, 16\).*expected \(1, 8\)"):
        index_documents([Document(content="z")], index, WordEncoder(bundle))
    for use in (lambda index: index.search([1.0] * 16), lambda index: index.ensure()):
        with pytest.raises(SpaceMismatchError, match=r"8 of 16 dimensions.*truncate_dim=8"):
            use(make_index(bundle))


@pytest.mark.parametrize(
    "settings",
    [
        {"encoder": "sq", "m": 8},
        {"compression_level": "4x"},
        {"space_type": "l2"},
        {"space_type": "innerproduct", "ef_search": None},
        {"engine": "faiss", "extra_settings": {"index.knn.advanced.approximate_threshold": -1}},
    ],
)
@on_every_version
def test_every_kind_of_vector_index_finds_the_nearest(make_index: MakeIndex, settings: Any) -> None:
    encoder, index = WordEncoder(tiny_bundle()), make_index(settings=settings)
    texts = [f"word{number}" for number in range(50)]
    index_documents([Document(content=text) for text in texts], index, encoder)
    for text in texts[::10]:
        assert index.search(encoder.encode_queries([text])[0], top_k=1)[0].content == text


def test_what_the_server_cannot_do_is_refused_before_anything_is_made(make_index: MakeIndex) -> None:
    for settings in ({"engine": "faiss"}, {"mode": "on_disk"}, {"compression_level": "32x"}):
        index = make_index(settings=settings)
        with pytest.raises(ConfigurationError, match=r"no native k-NN libraries.*use engine lucene"):
            index.ensure()
        assert not index.exists()


def test_a_missing_index_names_near_ones(make_index: MakeIndex, index_name: str) -> None:
    make_index().create()
    with pytest.raises(IndexingError, match=f"does not exist.*{index_name}"):
        make_index(name=index_name[:-1] + "z").search(VECTOR)


def test_an_index_without_a_binding_needs_consent(make_index: MakeIndex) -> None:
    index = make_index()
    body = {
        "settings": {"index.knn": True},
        "mappings": {
            "properties": {
                "embedding": {
                    "type": "knn_vector",
                    "dimension": 8,
                    "method": {"name": "hnsw", "engine": "lucene"},
                }
            }
        },
    }
    raw(index).indices.create(index=index.name, body=body)
    with pytest.raises(IndexingError, match="require_binding=False"):
        index.search(VECTOR)
    assert make_index(require_binding=False).search(VECTOR) == []
    with pytest.raises(IndexingError, match="vectors of 8 dimensions"):
        make_index(tiny_bundle(16), require_binding=False).search([1.0] * 16)


def test_an_alias_works_and_one_that_moves_to_another_model_is_noticed(
    make_index: MakeIndex, index_name: str
) -> None:
    first, second, alias = f"{index_name}-1", f"{index_name}-2", index_name
    other = tiny_bundle(name="other", space="c")
    try:
        for name, bundle in ((first, tiny_bundle()), (second, other)):
            index_documents([Document(content=name)], make_index(bundle, name=name), WordEncoder(bundle))
        client = raw(make_index())
        client.indices.put_alias(index=first, name=alias)
        reader = make_index(name=alias)
        assert [document.content for document in reader.search(VECTOR)] == [first]
        assert index_documents([Document(content="more")], reader, WordEncoder(tiny_bundle())).written == 1
        move = [{"remove": {"index": first, "alias": alias}}, {"add": {"index": second, "alias": alias}}]
        client.indices.update_aliases(body={"actions": move})
        with pytest.raises(SpaceMismatchError, match=f"{alias}.*{second}"):
            reader.search(VECTOR)
        with pytest.raises(IndexingError, match="alias"):
            reader.delete()
    finally:
        for name in (first, second):
            make_index(name=name).delete()


def test_documents_come_back_by_id_in_the_order_asked_for(make_index: MakeIndex) -> None:
    index = make_index()
    documents = [
        Document(id=str(number), content=f"text {number}", meta={"n": number}) for number in range(5)
    ]
    index_documents(documents, index, WordEncoder(tiny_bundle()), refresh=False)
    found = index.get_documents(["3", "nothing", "0"])
    assert found == [documents[3], documents[0]]
    assert len(index.get_documents(["3"], with_embedding=True)[0].embedding or []) == 8
    assert index.existing_ids([{"_id": "1"}, {"_id": "9"}]) == {"1"}
    assert index.get_documents([]) == []


def test_documents_with_a_routing_come_back_by_id_as_they_were_written(make_index: MakeIndex) -> None:
    index = make_index(settings={"number_of_shards": 4})
    documents = [
        Document(id=str(number), content="x", meta={} if number % 2 else {"_routing": "k"})
        for number in range(10)
    ]
    index_documents(documents, index, WordEncoder(tiny_bundle()))
    found = index.get_documents(["8", *map(str, range(8)), "nothing", "9", "9"], with_embedding=True)
    assert [document.id for document in found] == ["8", *map(str, range(8)), "9", "9"]
    assert all(len(document.embedding or []) == 8 and document.score is None for document in found)
    assert all(document.embedding is None for document in index.get_documents(["8", "9"]))


def test_documents_behind_an_alias_of_several_indices_are_all_found(
    make_index: MakeIndex, index_name: str
) -> None:
    names = [f"{index_name}-1", f"{index_name}-2"]
    encoder = WordEncoder(tiny_bundle())
    try:
        for name in names:
            target = make_index(name=name)
            index_documents(
                [Document(id=name, content="x"), Document(id="both", content="y")], target, encoder
            )
            raw(target).indices.put_alias(
                index=name, name=index_name, body={"is_write_index": name == names[0]}
            )
        index = make_index()
        assert [document.id for document in index.get_documents([*names, "both", "no"])] == [*names, "both"]
        asked = [{"_id": name} for name in [*names, "both", "no"]]
        assert index.existing_ids(asked) == {*names, "both"}
        assert {name: there["content"] for name, there in index.stored_sources(asked).items()} == {
            **dict.fromkeys(names, "x"),
            "both": "y",
        }
        again = index_documents([Document(id=names[1], content="x")], index, encoder)
        assert (again.skipped, again.written) == (1, 0)
    finally:
        for name in names:
            make_index(name=name).delete()


def test_documents_that_a_shard_does_not_tell_are_no_missing_ones(
    make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make_index()
    index.create()
    error = {"type": "no_shard_available_action_exception", "reason": "no shard"}
    answer = {"docs": [{"_id": "a", "error": error}]}
    monkeypatch.setattr(index.connection.client(), "mget", lambda **_: answer)
    with pytest.raises(ServerUnavailableError, match="did not tell document 'a': no shard"):
        index.existing_ids([{"_id": "a"}])


def test_deleting_says_whether_there_was_something(make_index: MakeIndex) -> None:
    index = make_index()
    index.create()
    assert index.delete()
    assert not index.delete()
    with pytest.raises(IndexingError, match="does not exist"):
        index.search(VECTOR)


def test_a_server_that_is_not_there_is_one_clear_error(make_index: MakeIndex) -> None:
    for use in (lambda index: index.open(), lambda index: index.ensure(), lambda index: index.search(VECTOR)):
        with pytest.raises(ServerUnavailableError, match=r"http://127\.0\.0\.1:1: no connection"):
            use(make_index(client_or_url="http://me:secret@127.0.0.1:1"))


def test_a_ready_client_serves_as_well(make_index: MakeIndex, opensearch_url: str) -> None:
    client = OpenSearch(hosts=[opensearch_url], timeout=30)
    index = make_index(client_or_url=client)
    report = index_documents([Document(content="x")], index, WordEncoder(tiny_bundle()))
    assert report.written == 1
    assert len(index.search(VECTOR)) == 1
    client.close()


def test_shards_fields_graph_and_analyzer_are_passed_on(make_index: MakeIndex) -> None:
    index = make_index(
        name=f"test-{uuid.uuid4().hex}",
        settings={
            "number_of_shards": 2,
            "number_of_replicas": 0,
            "fields": {"year": {"type": "integer"}},
            "m": 8,
            "ef_construction": 64,
            "analyzer": "english",
        },
    )
    try:
        index.create()
        facts = raw(index).indices.get(index=index.name)[index.name]
        assert facts["settings"]["index"]["number_of_shards"] == "2"
        assert facts["mappings"]["properties"]["year"] == {"type": "integer"}
        assert facts["mappings"]["properties"]["embedding"]["method"]["parameters"]["m"] == 8
        index_documents([Document(content="the merging of lists")], index, WordEncoder(tiny_bundle()))
        assert len(index.bm25("merges")) == 1  # stemmed, which the standard analyzer does not
        with pytest.raises(IndexingError, match=r"refused.*klingon"):
            make_index(name=f"test-{uuid.uuid4().hex}", settings={"analyzer": "klingon"}).create()
    finally:
        index.delete()


def test_a_binding_that_a_mapping_update_overwrites_is_written_again(
    make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fake of the race: after the first two updates somebody puts back the _meta of before."""
    index = make_index()
    index.create()
    indices = index.connection.client().indices
    before = indices.get_mapping(index=index.name)[index.name]["mappings"]["_meta"]
    put, lost = indices.put_mapping, [1, 2]

    def put_and_lose(**arguments: Any) -> Any:
        answer = put(**arguments)
        if lost:
            lost.pop()
            put(index=index.name, body={"_meta": before})
        return answer

    monkeypatch.setattr(indices, "put_mapping", put_and_lose)
    other = tiny_bundle(fingerprint="c", precision="int8")
    other = replace(
        other,
        manifest=other.manifest.model_copy(
            update={"text": other.manifest.text.model_copy(update={"max_length": 8})}
        ),
    )
    index.register_writer(other)
    assert not lost
    stored = indices.get_mapping(index=index.name)[index.name]["mappings"]["_meta"]["cl_haystack"]
    assert stored["fingerprints"] == {"b" * 32: "fp32", "c" * 32: "int8"}
    assert "cut at 16 tokens" in caplog.text
    assert "cuts them at 8" in caplog.text
