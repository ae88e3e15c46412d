"""The vectors of the last queries: people ask the same things again."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from cl_haystack.encoder.protocol import Vectors

_MAX_KEY_CHARS = 10_000  # a longer text is no question that comes again, and would hold memory as a key


class QueryCache:
    """Keeps the rows of the ``size`` texts used last. Calls from several threads are safe.

    ``functools.lru_cache`` asks for one text at a time and would keep its encoder alive.

    :param size: most texts kept; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """Return the rows of those texts that are kept; not to be written to."""
        with self._lock:
            found = {text: self._rows[text] for text in texts if text in self._rows}
            for text in found:
                self._rows.move_to_end(text)
            return found

    def keep(self, rows: Iterable[tuple[str, Vectors]]) -> None:
        """Keep texts with their rows, which the caller must not change afterwards."""
        with self._lock:
            for text, row in rows:
                if len(text) <= _MAX_KEY_CHARS:
                    self._rows[text] = row
                    self._rows.move_to_end(text)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)
