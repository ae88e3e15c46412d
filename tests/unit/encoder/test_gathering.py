"""Concurrent queries that share calls of the encoder: everybody gets the own vector, or the error."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cl_haystack.encoder.gathering import QueryGatherer


class SlowEncoder:
    """Stands for an encoder: the vector of ``"7"`` is ``[7.0]``, of ``"bad"`` an error."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.at_once = self.most_at_once = 0

    def __call__(self, texts: Sequence[str]) -> Any:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.02)
        self.calls.append(list(texts))
        self.at_once -= 1
        if "bad" in texts:
            raise ValueError("bad")
        return np.array([[float(text)] for text in texts], dtype=np.float32)


def test_everybody_gets_the_own_vector_and_calls_are_shared() -> None:
    encoder = SlowEncoder()
    gatherer = QueryGatherer()

    async def ask(first: int) -> list[float]:
        vectors = await asyncio.gather(
            *(gatherer.vector_async(str(first + number), encoder) for number in range(100))
        )
        return [float(vector[0]) for vector in vectors]

    results: dict[int, list[float]] = {}

    def loop_of_its_own(first: int) -> None:
        results[first] = asyncio.run(ask(first))

    threads = [threading.Thread(target=loop_of_its_own, args=(first,)) for first in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {first: [float(first + number) for number in range(100)] for first in (0, 1000, 2000)}
    assert sorted(text for call in encoder.calls for text in call) == sorted(
        str(first + number) for first in results for number in range(100)
    )
    assert max(map(len, encoder.calls)) <= 32
    assert len(encoder.calls) <= 20  # of 300 queries
    assert encoder.most_at_once == 1
    assert asyncio.run(gatherer.vector_async("5", encoder)) == [5.0]
    assert encoder.calls[-1] == ["5"]


def test_an_error_reaches_those_of_its_call_and_nobody_after() -> None:
    encoder = SlowEncoder()
    gatherer = QueryGatherer()

    async def run() -> None:
        alone = asyncio.create_task(gatherer.vector_async("1", encoder))
        await asyncio.sleep(0.005)
        together = await asyncio.gather(
            *(gatherer.vector_async(text, encoder) for text in ("2", "bad")), return_exceptions=True
        )
        assert await alone == [1.0]
        assert [str(error) for error in together] == ["bad", "bad"]
        assert await gatherer.vector_async("3", encoder) == [3.0]

    asyncio.run(run())


def test_who_gives_up_costs_nothing_and_disturbs_nobody() -> None:
    encoder = SlowEncoder()
    gatherer = QueryGatherer()

    async def run() -> None:
        first = asyncio.create_task(gatherer.vector_async("1", encoder))
        await asyncio.sleep(0.005)
        waiting = asyncio.create_task(gatherer.vector_async("2", encoder))
        last = asyncio.create_task(gatherer.vector_async("3", encoder))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        first.cancel()  # under way already
        assert await last == [3.0]

    asyncio.run(run())
    assert encoder.calls == [["1"], ["3"]]


def test_a_loop_that_ends_does_not_stop_those_that_come_after() -> None:
    encoder = SlowEncoder()
    gatherer = QueryGatherer()

    async def too_late() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        await gatherer.vector_async("1", encoder)

    with pytest.raises(RuntimeError, match="shutdown"):
        asyncio.run(too_late())
    assert asyncio.run(asyncio.wait_for(gatherer.vector_async("2", encoder), timeout=5)) == [2.0]
    assert encoder.calls == [["2"]]


def test_threads_share_a_call_within_the_window() -> None:
    encoder = SlowEncoder()
    gatherer = QueryGatherer(window_s=0.1)
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda number: gatherer.vector(str(number), encoder), range(8)))
    assert [float(vector[0]) for vector in vectors] == list(range(8))
    assert [sorted(call) for call in encoder.calls] == [sorted(map(str, range(8)))]
    with pytest.raises(ValueError, match="bad"):
        gatherer.vector("bad", encoder)
    assert gatherer.vector("9", encoder) == [9.0]
