"""Concurrent queries that share calls of the encoder: everybody gets the own vector, or the error."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from haystack_integrations.components.embedders.cl_haystack.gathering import QueryGatherer


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
    gatherer = QueryGatherer(encoder)

    async def ask(first: int) -> list[float]:
        vectors = await asyncio.gather(*(gatherer.vector(str(first + number)) for number in range(100)))
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
    assert asyncio.run(gatherer.vector("5")) == [5.0]
    assert encoder.calls[-1] == ["5"]


def test_an_error_reaches_those_of_its_call_and_nobody_after() -> None:
    gatherer = QueryGatherer(SlowEncoder())

    async def run() -> None:
        alone = asyncio.create_task(gatherer.vector("1"))
        await asyncio.sleep(0.005)
        together = await asyncio.gather(*map(gatherer.vector, ("2", "bad")), return_exceptions=True)
        assert await alone == [1.0]
        assert [str(error) for error in together] == ["bad", "bad"]
        assert await gatherer.vector("3") == [3.0]

    asyncio.run(run())


def test_who_gives_up_costs_nothing_and_disturbs_nobody() -> None:
    encoder = SlowEncoder()
    gatherer = QueryGatherer(encoder)

    async def run() -> None:
        first = asyncio.create_task(gatherer.vector("1"))
        await asyncio.sleep(0.005)
        waiting = asyncio.create_task(gatherer.vector("2"))
        last = asyncio.create_task(gatherer.vector("3"))
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
    gatherer = QueryGatherer(encoder)

    async def too_late() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        await gatherer.vector("1")

    with pytest.raises(RuntimeError, match="shutdown"):
        asyncio.run(too_late())
    assert asyncio.run(asyncio.wait_for(gatherer.vector("2"), timeout=5)) == [2.0]
    assert encoder.calls == [["2"]]
