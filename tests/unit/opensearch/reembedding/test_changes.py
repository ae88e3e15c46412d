"""Documents by sequence number: all of them once, in pages of bounded bytes."""

import threading
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.reembedding.changes import ChangeReader


class FakeShard:
    """One shard: texts by sequence number. Also a connection; remembers the bytes of its answers."""

    url = "http://server"

    def __init__(self, texts: dict[int, str]) -> None:
        self.texts = texts
        self.answers: list[int] = []

    def client(self) -> "FakeShard":
        return self

    def search(self, *, index: str, body: dict[str, Any], params: dict[str, str]) -> dict[str, Any]:
        span = body["query"]["range"]["_seq_no"]
        numbers = sorted(number for number in self.texts if span["gt"] < number <= span["lte"])
        hits = [
            {"_id": str(number), "_seq_no": number}
            | ({} if body["_source"] is False else {"_source": {"content": self.texts[number]}})
            for number in numbers[: body["size"]]
        ]
        self.answers.append(len(orjson.dumps(hits)))
        return {"hits": {"hits": hits}}


def reader_of(shard: FakeShard) -> ChangeReader:
    return ChangeReader(shard, "old", Patience(1, threading.Event()))  # type: ignore[arg-type]


@given(st.sets(st.integers(0, 100_000), max_size=700), st.integers(0, 100_000), st.data())
def test_every_document_between_two_checkpoints_is_read_once(
    numbers: set[int], last: int, data: st.DataObject
) -> None:
    after = data.draw(st.integers(-1, last))
    shard = FakeShard(dict.fromkeys(numbers, "text"))
    expected = [str(number) for number in sorted(numbers) if after < number <= last]
    for read in (reader_of(shard).documents, reader_of(shard).ids):
        assert [hit["_id"] for hit in read({0: after}, {0: last})] == expected


def test_pages_of_large_documents_are_short() -> None:
    shard = FakeShard(dict.fromkeys(range(300), "x" * 200_000))
    assert sum(1 for _ in reader_of(shard).documents({}, {0: 299})) == 300
    first, *others = shard.answers
    assert first < 11_000_000  # 50 documents, of whatever size
    assert max(others) < 4_100_000


def test_pages_of_small_documents_are_long() -> None:
    shard = FakeShard(dict.fromkeys(range(5_000), "text"))
    assert sum(1 for _ in reader_of(shard).documents({}, {0: 4_999})) == 5_000
    assert len(shard.answers) < 15
