"""Indexing jobs on a real server, with documents that are poison and servers that fail."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from cl_haystack.errors import IndexingError, RejectedDocumentsError, ServerUnavailableError
from cl_haystack.opensearch import OpenSearchIndex, index_documents, patience
from cl_haystack.opensearch.content_hash import HASH_FIELD
from cl_haystack.progress import Progress
from tests.index_state import contents
from tests.opensearch_fakes import FaultyClient, WordEncoder, tiny_bundle
from tests.opensearch_versions import on_every_version

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]


def corpus(count: int) -> list[Document]:
    return [
        Document(id=f"d{number}", content=f"text number {number}", meta={"n": number})
        for number in range(count)
    ]


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder(tiny_bundle())


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.02)


@on_every_version
def test_a_stream_ends_up_in_the_index_as_it_was(make_index: MakeIndex, encoder: WordEncoder) -> None:
    index = make_index()
    steps: list[Progress] = []
    report = index_documents(iter(corpus(250)), index, encoder, window_size=100, on_progress=steps.append)
    assert (report.read, report.embedded, report.written, report.rejected) == (250, 250, 250, 0)
    assert index.count() == 250  # visible at once
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1] == Progress(250, 250, "250 written")
    assert len(steps) > 10  # not only once a window
    stored = contents(index)["d7"]
    assert (stored["content"], stored["n"], stored["id"]) == ("text number 7", 7, "d7")
    expected = encoder.encode_documents(["text number 7"])[0]
    np.testing.assert_allclose(stored["embedding"], expected, atol=1e-6)
    assert set(report.seconds) == {"embed", "write", "refresh", "total"}


def test_documents_keep_their_ids_and_their_own_embeddings(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()
    mine = [0.0] * 7 + [1.0]
    documents = [Document(content="hashed id"), Document(content="own vector", embedding=mine)]
    report = index_documents(documents, index, encoder)
    assert report.embedded == 1
    assert encoder.encoded == ["hashed id"]
    assert index.search(mine, top_k=1)[0].id == documents[1].id
    assert set(contents(index)) == {document.id for document in documents}


def test_running_again_changes_nothing_and_skip_embeds_nothing(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()
    index_documents(corpus(30), index, encoder)
    before = contents(index)
    encoder.encoded.clear()
    report = index_documents(corpus(30), index, encoder)
    assert (report.skipped, report.embedded, report.written, encoder.encoded) == (30, 0, 0, [])
    assert contents(index) == before
    report = index_documents(corpus(35), index, encoder, policy=DuplicatePolicy.SKIP, window_size=7)
    assert (report.read, report.skipped, report.embedded, report.written) == (35, 30, 5, 5)
    assert len(encoder.encoded) == 5


@on_every_version
def test_whatever_has_changed_is_written_again_and_nothing_else(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()
    index_documents(corpus(10), index, encoder)
    client = index.connection.client()
    encoder.encoded.clear()

    def again(documents: list[Document], **options: Any) -> tuple[int, int]:
        report = index_documents(documents, index, encoder, **options)
        return report.skipped, report.written

    new_text = [Document(id="d0", content="another text", meta={"n": 0}), *corpus(10)[1:]]
    assert again(new_text) == (9, 1)
    new_meta = [new_text[0], Document(id="d1", content="text number 1", meta={"n": 7}), *corpus(10)[2:]]
    assert again(new_meta) == (9, 1)
    assert encoder.encoded == ["another text", "text number 1"]
    own = [Document(id="d2", content="text number 2", meta={"n": 2}, embedding=[1.0] + [0.0] * 7)]
    assert again(own) == (0, 1)
    assert again(own) == (1, 0)
    assert again(corpus(10)[3:], embedding_separator=" ") == (0, 7)  # other texts would be embedded
    assert again(corpus(10)[3:], embedding_separator=" ") == (7, 0)
    client.update(index=index.name, id="d5", body={"doc": {"n": 55}})  # by somebody else
    assert again(corpus(10)[3:], embedding_separator=" ") == (6, 1)
    assert contents(index)["d5"]["n"] == 5
    routed = [Document(id="routed", content="x", meta={"_routing": "a"})]
    assert again(routed) == (0, 1)
    assert again(routed) == (1, 0)


@on_every_version
def test_of_an_id_that_comes_again_the_last_one_wins(make_index: MakeIndex, encoder: WordEncoder) -> None:
    """Within a window, in the next one, and where the index holds what an earlier one of them says."""
    index = make_index()

    def version(text: str) -> Document:
        return Document(id="same", content=text)

    fill = corpus(40)
    index_documents([version("p"), *fill], index, encoder)
    for texts in ("qp", "pqp", "qrq", "pq"):
        stream = [entry for text in texts for entry in (version(text), *fill[:7])]
        index_documents(stream, index, encoder, window_size=10, chunk_bytes=2_000, streams=3)
        assert contents(index)["same"]["content"] == texts[-1]


def test_an_index_without_hashes_is_written_as_it_always_was(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()
    vector = {"type": "knn_vector", "dimension": 8, "method": {"name": "hnsw", "engine": "lucene"}}
    body = {"settings": {"index.knn": True}, "mappings": {"properties": {"embedding": vector}}}
    index.connection.client().indices.create(index=index.name, body=body)
    foreign = make_index(require_binding=False)
    for _ in range(2):
        report = index_documents(corpus(5), foreign, encoder)
        assert (report.skipped, report.written) == (0, 5)
    assert set(contents(foreign)["d1"]) == {"id", "content", "n", "blob", "score", "embedding"}


def test_hashes_take_little_room_on_disk(make_index: MakeIndex, index_name: str) -> None:
    """Vectors are stored once, not a second time as text for replicas."""
    bundle = tiny_bundle(256)
    documents = [
        Document(id=f"d{number}", content="text", embedding=vector.tolist())
        for number, vector in enumerate(np.random.default_rng(0).normal(size=(200, 256)))
    ]
    index = make_index(bundle, settings={"number_of_replicas": 0})
    index_documents(documents, index, WordEncoder(bundle))
    client, plain = index.connection.client(), f"{index_name}-plain"
    mapping = client.indices.get_mapping(index=index.name)[index.name]["mappings"]
    del mapping["properties"][HASH_FIELD]
    body = {"mappings": mapping, "settings": {"index.knn": True, "number_of_replicas": 0}}
    client.indices.create(index=plain, body=body)
    try:
        foreign = make_index(bundle, name=plain)
        index_documents(documents, foreign, WordEncoder(bundle))
        client.indices.flush(index=f"{index.name},{plain}")
        sizes = {
            name: entry["primaries"]["store"]["size_in_bytes"]
            for name, entry in client.indices.stats(index=f"{index.name},{plain}")["indices"].items()
        }
        assert sizes[index.name] < 1.1 * sizes[plain]
    finally:
        client.indices.delete(index=plain)


def test_force_merge_leaves_one_segment(make_index: MakeIndex, encoder: WordEncoder) -> None:
    index = make_index(settings={"number_of_replicas": 0})
    for start in range(0, 30, 10):
        index_documents(corpus(30)[start : start + 10], index, encoder, force_merge=start == 20)
    segments = index.connection.client().cat.segments(index=index.name, format="json")
    assert len(segments) == 1
    assert index.count() == 30


@on_every_version
@pytest.mark.parametrize("policy", [DuplicatePolicy.FAIL, DuplicatePolicy.NONE])
def test_fail_and_none_raise_for_documents_that_are_there(
    make_index: MakeIndex, encoder: WordEncoder, policy: DuplicatePolicy
) -> None:
    index = make_index()
    assert index_documents(corpus(3), index, encoder, policy=policy).written == 3
    with pytest.raises(DuplicateDocumentError, match=r"1 documents.*'d1'"):
        index_documents([corpus(2)[1], Document(id="new", content="x")], index, encoder, policy=policy)
    assert "new" in contents(index)


def nested(depth: int) -> Any:
    return {"in": nested(depth - 1)} if depth else 1


POISON = [
    Document(id="nan", content="x", meta={"n": math.nan}),
    Document(id="object", content="x", meta={"n": object()}),
    Document(id="surrogate", content="\ud800"),
    Document(id="i" * 600, content="x"),
    Document(id="dimension", content="x", embedding=[1.0, 2.0]),
    Document(id="vector", content="x", embedding=[math.nan] * 8),
    Document(id="zero", content="x", embedding=[0.0] * 8),
    Document(id="type", content="x", meta={"n": "no number"}),
    Document(id="long", content="x", meta={"word": "w" * 40_000}),
    Document(id="clash", content="x", meta={"_id": "mine"}),
    Document(id="deep", content="x", meta={"deep": nested(30)}),
    Document(id="abyss", content="x", meta={"deep": nested(300)}),
    Document(id="object-for-number", content="x", meta={"n": {"deep": 1}}),
]


@on_every_version
def test_poison_goes_to_the_dead_letters_and_the_rest_is_written(
    make_index: MakeIndex, encoder: WordEncoder, tmp_path: Path
) -> None:
    index = make_index()
    good = corpus(100)
    mixed = good[:50] + POISON + good[50:]
    file = tmp_path / "dead.jsonl"
    report = index_documents(mixed, index, encoder, dead_letters=file, window_size=40)
    assert (report.read, report.written, report.rejected) == (100 + len(POISON), 100, len(POISON))
    assert set(contents(index)) == {document.id for document in good}
    lines = [json.loads(line) for line in file.read_text(encoding="ascii").splitlines()]
    assert sorted(line["id"] for line in lines) == sorted(document.id for document in POISON)
    assert all(line["reason"] for line in lines)
    assert {line["id"]: line["status"] for line in lines}["type"] == 400
    assert {line["id"]: line["status"] for line in lines}["nan"] == 0
    assert report.dead_letters == file


def test_a_text_of_20_mb_disturbs_no_other_document(make_index: MakeIndex, encoder: WordEncoder) -> None:
    index = make_index()
    large = Document(id="large", content="word " * 4_000_000)
    encoder.encode_documents = lambda texts, **options: np.ones((len(texts), 8), np.float32)  # type: ignore[method-assign]
    report = index_documents([*corpus(5), large, *corpus(10)[5:]], index, encoder, on_rejected="report")
    assert (report.read, report.written + report.rejected) == (11, 11)
    assert {document.id for document in corpus(10)} <= {
        *index.existing_ids([{"_id": f"d{n}"} for n in range(10)])
    }


def test_without_dead_letters_refusals_raise_after_the_rest_is_written(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()
    with pytest.raises(RejectedDocumentsError, match="'zero'") as caught:
        index_documents([*corpus(5), POISON[6]], index, encoder)
    assert caught.value.count == 1
    assert set(contents(index)) == {document.id for document in corpus(5)}
    report = index_documents([POISON[6]], index, encoder, on_rejected="report")
    assert [rejection.id for rejection in report.rejections] == ["zero"]


def test_documents_without_text_are_written_without_a_vector(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()
    documents = [Document(id="blank", content=" \n", meta={"n": 1}), Document(id="none"), *corpus(2)]
    report = index_documents(documents, index, encoder)
    assert (report.written, report.embedded, report.without_text) == (4, 2, 2)
    assert contents(index)["blank"]["embedding"] is None
    found = index.search([1.0] * 8, top_k=10)
    assert {document.id for document in found} == {"d0", "d1"}
    with_title = Document(id="title", meta={"title": "T"})
    report = index_documents([with_title], index, encoder, meta_fields_to_embed=["title"])
    assert report.embedded == 1
    assert encoder.encoded[-1] == "T\n"


@pytest.mark.parametrize("policy", [DuplicatePolicy.OVERWRITE, DuplicatePolicy.SKIP, DuplicatePolicy.FAIL])
@pytest.mark.parametrize(
    "faults",
    [
        {0: "429", 1: "503", 3: "429"},
        {0: "lost", 2: "cut", 4: "lost"},
        {1: "partial", 2: "partial", 3: "partial"},
        {0: "garbled", 1: "lost", 2: "partial", 3: "429", 4: "cut", 7: "partial", 8: "lost"},
    ],
    ids=["busy", "timeouts", "partial", "everything"],
)
def test_after_any_fault_the_index_equals_the_undisturbed_one(
    make_index: MakeIndex,
    encoder: WordEncoder,
    opensearch_url: str,
    index_name: str,
    faults: dict[int, str],
    policy: DuplicatePolicy,
    quick_retries: None,
) -> None:
    calm = make_index(name=f"{index_name}-calm")
    try:
        index_documents(corpus(200), calm, encoder, policy=policy, chunk_bytes=8_000)
        client = FaultyClient(opensearch_url, faults)
        index = make_index(client_or_url=client)
        report = index_documents(corpus(200), index, encoder, policy=policy, chunk_bytes=8_000)
        assert client.calls > max(faults)  # every fault happened
        assert (report.read, report.written, report.skipped, report.rejected) == (200, 200, 0, 0)
        assert report.retries >= len(faults) - 1
        assert contents(index) == contents(calm)
        client.close()
    finally:
        calm.delete()


def test_fail_still_sees_foreign_documents_after_a_timeout(
    make_index: MakeIndex, encoder: WordEncoder, opensearch_url: str, quick_retries: None
) -> None:
    """A repeated request must not mistake somebody else's document for its own."""
    index_documents([Document(id="d1", content="somebody else's")], make_index(), encoder)
    client = FaultyClient(opensearch_url, {0: "lost"})
    with pytest.raises(DuplicateDocumentError, match=r"1 documents.*'d1'"):
        index_documents(corpus(3), make_index(client_or_url=client), encoder, policy=DuplicatePolicy.FAIL)
    client.close()


def test_a_server_that_stays_away_is_an_error_that_a_second_run_heals(
    make_index: MakeIndex, encoder: WordEncoder, opensearch_url: str, quick_retries: None
) -> None:
    client = FaultyClient(opensearch_url, dict.fromkeys(range(2, 10000), "cut"))
    index = make_index(client_or_url=client)
    with pytest.raises(ServerUnavailableError):
        index_documents(corpus(300), index, encoder, chunk_bytes=8_000, retry_for_s=0.5)
    client.close()
    healed = make_index()
    assert 0 < len(contents(healed)) < 300
    index_documents(corpus(300), healed, encoder, policy=DuplicatePolicy.SKIP)
    assert len(contents(healed)) == 300


def test_ctrl_c_leaves_no_thread_and_the_next_run_works(make_index: MakeIndex, encoder: WordEncoder) -> None:
    def interrupted() -> Iterator[Document]:
        yield from corpus(60)
        raise KeyboardInterrupt

    index = make_index()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        index_documents(interrupted(), index, encoder, window_size=10, chunk_bytes=500)
    assert time.monotonic() - started < 10
    assert not [thread for thread in threading.enumerate() if thread.name == "cl-haystack-bulk"]
    index_documents(corpus(60), index, encoder)
    assert len(contents(index)) == 60


def test_an_index_that_is_blocked_stops_the_job_with_the_reason(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()
    index.create()
    index.connection.client().indices.put_settings(index=index.name, body={"index.blocks.write": True})
    with pytest.raises(IndexingError, match=r"takes no documents.*block"):
        index_documents(corpus(3), index, encoder, retry_for_s=0.5)


def test_an_index_that_vanishes_between_two_windows_is_noticed(
    make_index: MakeIndex, encoder: WordEncoder
) -> None:
    index = make_index()

    def stream() -> Iterator[Document]:
        yield from corpus(20)
        while len(index.existing_ids([{"_id": document.id} for document in corpus(20)])) < 20:
            time.sleep(0.02)
        index.connection.client().indices.delete(index=index.name)
        yield from corpus(40)[20:]

    with pytest.raises(IndexingError, match="does not exist"):
        index_documents(stream(), index, encoder, window_size=10)


def test_an_index_that_the_server_makes_anew_by_itself_is_noticed(make_index: MakeIndex) -> None:
    index = make_index()

    class Deleting(WordEncoder):
        """Deletes the index after the job has looked, before it writes: the server makes another, unbound."""

        def encode_documents(self, texts: Any, **options: Any) -> Any:
            if any("number 15" in text for text in texts):  # the second window
                while len(index.existing_ids([{"_id": f"d{number}"} for number in range(10)])) < 10:
                    time.sleep(0.02)
                index.connection.client().indices.delete(index=index.name)
            return super().encode_documents(texts, **options)

    with pytest.raises(IndexingError, match="does not say which model"):
        index_documents(corpus(20), index, Deleting(tiny_bundle()), window_size=10)


def test_an_encoder_of_the_wrong_size_is_refused(make_index: MakeIndex) -> None:
    class Liar(WordEncoder):
        def encode_documents(self, texts: Any, **options: Any) -> Any:
            return super().encode_documents(texts, **options)[:, :4]

    with pytest.raises(IndexingError, match=r"shape \(3, 4\).*expected \(3, 8\)"):
        index_documents(corpus(3), make_index(), Liar(tiny_bundle()))


def test_nothing_to_index_is_no_error(make_index: MakeIndex, encoder: WordEncoder) -> None:
    report = index_documents([], make_index(), encoder)
    assert (report.read, report.written) == (0, 0)
    with pytest.raises(TypeError, match="Document"):
        index_documents(Document(content="x"), make_index(), encoder)  # type: ignore[arg-type]
