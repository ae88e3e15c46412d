"""Parts of the indexing job that need no server: windows, the sending thread, the report, dead letters."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack.dataclasses import ByteStream
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.errors import IndexingError, RejectedDocumentsError
from cl_haystack.opensearch.documents import UnwritableDocument, source_json
from cl_haystack.opensearch.indexing import parcels as cutting
from cl_haystack.opensearch.indexing.background import BackgroundSender
from cl_haystack.opensearch.indexing.bulk import Action, Rejection
from cl_haystack.opensearch.indexing.parcels import parcels, windows
from cl_haystack.opensearch.indexing.preparing import Draft
from cl_haystack.opensearch.indexing.report import DeadLetters, IndexingReport


@given(st.integers(0, 30), st.integers(1, 10))
def test_windows_keep_every_document_in_order(count: int, size: int) -> None:
    documents = [Document(id=str(number), content="x") for number in range(count)]
    result = list(windows(iter(documents), Draft, size))
    assert [draft.document.id for window in result for draft in window] == [d.id for d in documents]
    assert all(len(window) == size for window in result[:-1])


def test_windows_are_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes a document large: its meta, or the content of a line that is none."""
    monkeypatch.setattr(cutting, "_MAX_WINDOW_BYTES", 200)
    documents = [Document(id=str(number), meta={"x": "x" * 100}) for number in range(4)]
    by_meta = windows(documents, lambda document: Draft(document, source_json(document)), 1000)
    assert [len(window) for window in by_meta] == [2, 2]
    lines = [UnwritableDocument(str(number), "x" * 150, "no JSON") for number in range(4)]
    by_line = windows(lines, lambda document: Draft(document, problem="no JSON"), 1000)
    assert [len(window) for window in by_line] == [2, 2]


def test_the_input_is_never_held_as_a_whole() -> None:
    taken = 0

    def stream() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield Document(id=str(taken))

    next(iter(windows(stream(), Draft, 5)))
    assert taken == 5


def test_anything_else_in_the_input_is_named_by_position() -> None:
    with pytest.raises(TypeError, match=r"documents\[1\] is a dict"):
        list(windows([Document(content="x"), {"content": "y"}], Draft, 10))  # type: ignore[list-item]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 50))), st.integers(1, 120), st.integers(1, 3))
def test_parcels_lose_nothing_keep_the_bound_and_the_order_of_each_id(
    given_actions: list[tuple[int, int]], max_bytes: int, num_streams: int
) -> None:
    actions = [
        Action(str(name), b"%d " % place + b"x" * size) for place, (name, size) in enumerate(given_actions)
    ]
    made = list(parcels(((action, Document(id=action.id)) for action in actions), max_bytes, num_streams))
    for name in {action.id for action in actions}:
        mine = [(p.stream, action) for p in made for action in p.actions if action.id == name]
        assert [action for _, action in mine] == [action for action in actions if action.id == name]
        assert len({stream for stream, _ in mine}) == 1
    assert sum(len(p.actions) for p in made) == len(actions)
    for parcel in made:
        assert len(parcel.actions) == len(parcel.documents)  # no id twice
        size = sum(len(action.lines) for action in parcel.actions)
        assert len(parcel.actions) == 1 or 0 < size <= max_bytes
    if num_streams > 1 and len({action.id for action in actions}) == 9:
        assert len({p.stream for p in made}) > 1


def send_all(send: Callable[[int], Any], items: Iterable[int], stop: threading.Event | None = None) -> None:
    with BackgroundSender(send, stop or threading.Event()) as sender:
        for item in items:
            sender.put(item)


def test_items_arrive_in_order_in_another_thread() -> None:
    seen: list[tuple[int, int]] = []
    send_all(lambda item: seen.append((item, threading.get_ident())), range(20))
    assert [item for item, _ in seen] == list(range(20))
    assert {thread for _, thread in seen} != {threading.get_ident()}


def test_a_failure_in_the_thread_is_raised_at_the_next_step() -> None:
    def fail(item: int) -> None:
        raise IndexingError(f"item {item}")

    def slowly() -> Iterator[int]:
        for item in range(1000):
            made.append(item)
            yield item
            time.sleep(0.01)

    made: list[int] = []
    with pytest.raises(IndexingError, match="item 0"):
        send_all(fail, slowly())
    assert len(made) < 100


def test_a_failure_with_the_last_item_is_not_lost() -> None:
    def fail(item: int) -> None:
        time.sleep(0.1)
        raise IndexingError("late")

    with pytest.raises(IndexingError, match="late"):
        send_all(fail, [1])


def test_an_interrupt_stops_the_thread_even_if_it_hangs() -> None:
    def interrupted() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    stop = threading.Event()
    release = threading.Event()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        send_all(lambda item: release.wait(30), interrupted(), stop)
    assert time.monotonic() - started < 10
    assert stop.is_set()
    release.set()


def test_a_slow_thread_slows_the_maker_down() -> None:
    made = 0
    release = threading.Event()

    def wait(item: int) -> None:
        release.wait(5)

    with BackgroundSender(wait, threading.Event()) as sender:
        maker = threading.Thread(target=lambda: [sender.put(item) for item in range(50)], daemon=True)
        maker.start()
        time.sleep(0.3)
        made = sender._queues[0].qsize()
        assert maker.is_alive()
        release.set()
        maker.join(5)
    assert made <= 2


POISON = Document(id="\ud800", content="x", meta={"a": object(), "deep": [[[1]]]})


def test_dead_letters_are_appended_and_hold_anything(tmp_path: Path) -> None:
    file = tmp_path / "dead.jsonl"
    for _ in range(2):
        with DeadLetters(file, "docs") as letters:
            letters.add(Rejection(POISON.id, "why", 400), POISON)
    lines = [json.loads(line) for line in file.read_text(encoding="ascii").splitlines()]
    assert len(lines) == 2
    assert lines[0]["id"] == "\ud800"
    assert (lines[0]["reason"], lines[0]["status"], lines[0]["index"]) == ("why", 400, "docs")
    assert lines[0]["document"]["content"] == "x"


def test_dead_letters_hold_vector_and_blob_too(tmp_path: Path) -> None:
    """A ready-made vector may be the very reason, and is nowhere else."""
    file = tmp_path / "dead.jsonl"
    blob = ByteStream(b"\x00\xff", mime_type="image/png")
    vector: Any = np.array([0.5, math.nan], dtype=np.float32)
    with DeadLetters(file, "docs") as letters:
        letters.add(Rejection("1", "why"), Document(id="1", blob=blob, embedding=vector))
        letters.add(Rejection("2", "why"), Document(id="2", meta={"n": np.int64(3)}, embedding=[1.0]))
        letters.add(Rejection("3", "why"), Document(id="3", content="x"))
    first, second, third = [json.loads(line)["document"] for line in file.read_text().splitlines()]
    assert first["embedding"][0] == 0.5
    assert math.isnan(first["embedding"][1])
    assert ByteStream.from_dict(first["blob"]) == blob
    assert (second["embedding"], second["meta"]) == ([1.0], {"n": 3})
    assert set(third) == {"id", "content", "meta"}


def test_a_job_without_refusals_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "dead.jsonl"
    with DeadLetters(file, "docs"):
        assert file.exists()
    assert not file.exists()


def test_a_dead_letter_file_that_cannot_be_written_is_found_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(IndexingError, match="no-folder"), DeadLetters(tmp_path / "no-folder" / "x", "docs"):
        pass


def test_the_report_is_plain_json() -> None:
    report = IndexingReport(
        index="docs",
        read=3,
        skipped=0,
        embedded=2,
        without_text=0,
        written=2,
        rejected=1,
        retries=0,
        seconds={"total": 1.0},
        rejections=(Rejection("7", "why", 400),),
        dead_letters=Path("dead.jsonl"),
    )
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["rejections"] == [{"id": "7", "reason": "why", "status": 400}]
    assert plain["dead_letters"] == "dead.jsonl"
    assert plain["written"] == 2


def test_the_error_names_documents_and_reasons() -> None:
    error = RejectedDocumentsError(index="docs", count=5, rejections={"7": "too long", "8": "NaN"})
    assert "5 documents were refused, all others were written (the first 2): '7': too long;" in str(error)
    assert error.rejections["8"] == "NaN"
