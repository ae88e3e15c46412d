"""Threads that send finished chunks while the next ones are being made: one thread a stream.

Before each stands a queue of two chunks, so memory stays bounded and a slow server slows the maker down.
Whatever goes wrong in a thread is raised in the maker at its next step. An interrupted maker stops the
threads at once; they are daemons, so not even a hung server keeps the process alive.
"""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_QUEUED = 2
_POLL_S = 0.1
_PATIENCE_S = 2.0


class BackgroundSender(Generic[Item]):
    """Hands items to a function in threads, in order within a stream. Leaving ``with`` waits for all of them.

    :param send: called in the threads, in each with one item at a time.
    :param stop: set when the maker gives up; ``send`` should watch it too.
    :param streams: how many threads.
    """

    def __init__(self, send: Callable[[Item], None], stop: threading.Event, streams: int = 1) -> None:
        self._send = send
        self._stop = stop
        self._queues: list[queue.Queue[Item | None]] = [queue.Queue(_QUEUED) for _ in range(streams)]
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, args=[line], name="cl-haystack-bulk", daemon=True)
            for line in self._queues
        ]

    def __enter__(self) -> "BackgroundSender[Item]":
        for thread in self._threads:
            thread.start()
        return self

    def put(self, item: Item, stream: int = 0) -> None:
        """Hand over an item, waiting while its queue is full; raises what ``send`` raised before.

        :param item: goes to ``send``.
        :param stream: number of the thread, from 0.
        """
        self._put(item, self._queues[stream])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._give_up()
            return
        try:
            for line in self._queues:
                self._put(None, line)
            while any(thread.is_alive() for thread in self._threads):
                self._raise_failure()
                for thread in self._threads:
                    thread.join(_POLL_S)  # short, so that Ctrl-C is heard
        except BaseException:
            self._give_up()
            raise
        self._raise_failure()

    def _give_up(self) -> None:
        self._stop.set()
        until = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _put(self, item: Item | None, line: "queue.Queue[Item | None]") -> None:
        while True:
            self._raise_failure()
            try:
                line.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self, line: "queue.Queue[Item | None]") -> None:
        while not self._stop.is_set():
            try:
                item = line.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if item is None:
                return
            try:
                self._send(item)
            except BaseException as error:  # noqa: BLE001  (handed to the maker, who raises it)
                self._failure = error
                return
