"""A thread that sends finished chunks while the next ones are being made.

Between the two stands a queue of two chunks, so memory stays bounded and a slow server slows the maker down.
Whatever goes wrong in the thread is raised in the maker at its next step. An interrupted maker stops the
thread at once; it is a daemon, so not even a hung server keeps the process alive.
"""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_QUEUED = 2
_POLL_S = 0.1
_PATIENCE_S = 2.0


class BackgroundSender(Generic[Item]):
    """Hands items to a function in a thread, in order. Leaving the ``with`` block waits for all of them.

    :param send: called in the thread, with one item at a time.
    :param stop: set when the maker gives up; ``send`` should watch it too.
    """

    def __init__(self, send: Callable[[Item], None], stop: threading.Event) -> None:
        self._send = send
        self._stop = stop
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=_QUEUED)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="cl-haystack-bulk", daemon=True)

    def __enter__(self) -> "BackgroundSender[Item]":
        self._thread.start()
        return self

    def put(self, item: Item) -> None:
        """Hand over an item, waiting while the queue is full; raises what ``send`` raised before."""
        self._put(item)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stop.set()
            self._thread.join(_PATIENCE_S)
            return
        try:
            self._put(None)
            while self._thread.is_alive():
                self._thread.join(_POLL_S)  # short, so that Ctrl-C is heard
        except BaseException:
            self._stop.set()
            self._thread.join(_PATIENCE_S)
            raise
        self._raise_failure()

    def _put(self, item: Item | None) -> None:
        while True:
            self._raise_failure()
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if item is None:
                return
            try:
                self._send(item)
            except BaseException as error:  # noqa: BLE001  (handed to the maker, who raises it)
                self._failure = error
                return
