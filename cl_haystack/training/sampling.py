"""Which pairs share a batch.

With in-batch negatives every other text of the batch counts as a negative, so a text that stands in a batch
twice would be pushed away from itself. The sampler never lets that happen.

A pair that clashes with the batch being filled waits *under the text it clashes on*. When the next batch
begins, only the first pair that waits under each text is worth a look: the second would clash with the first.
So the work stays linear in the data, however often a text is repeated.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_LOOKED_AT = 4  # waiting texts tried for each place of a batch: bounds the work of a batch


@dataclass(frozen=True)
class TextIds:
    """The texts of all pairs as 64-bit numbers, any number of texts a pair.

    :param flat: the ids of all pairs, one after the other.
    :param ends: where each pair's ids end in ``flat``.
    """

    flat: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def of(self, pair: int) -> frozenset[int]:
        """Return the texts of one pair."""
        return frozenset(self._in_order(pair))

    def candidates_of(self, pair: int) -> frozenset[int]:
        """Return the texts of one pair but its anchor, which comes first."""
        return frozenset(self._in_order(pair)[1:])

    def _in_order(self, pair: int) -> list[int]:
        start = self.ends[pair - 1] if pair else 0
        ids: list[int] = self.flat[start : self.ends[pair]].tolist()
        return ids


def text_id(text: str) -> int:
    """Return a 64-bit number that is equal for equal texts, on every machine."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def no_duplicate_batches(texts: TextIds, batch_size: int, *, seed: int) -> Iterator[list[int]]:
    """Yield batches in which no text occurs twice.

    What is left at the end when only clashing pairs remain comes in smaller batches; pairs are never dropped
    or repeated.

    :param texts: for each pair the texts of all its columns.
    :param batch_size: pairs of a full batch.
    :param seed: same seed, same batches, on every machine.
    :yields: positions in ``texts``.
    """
    source = iter(np.random.default_rng(seed).permutation(len(texts)).tolist())
    waiting: OrderedDict[int, deque[int]] = OrderedDict()  # text → pairs that clashed on it, longest first
    while True:
        batch = _Filling(batch_size)
        for text in list(islice(waiting, _LOOKED_AT * batch_size)):
            _admit_first(waiting, text, texts, batch)
        while not batch.is_full:
            pair = next(source, None)
            if pair is None:
                break
            batch.admit(pair, texts.of(pair), waiting)
        if not batch.pairs:
            return
        yield batch.pairs


def shuffled_batches(num_pairs: int, batch_size: int, *, seed: int) -> list[list[int]]:
    """Return batches in random order, for losses in which rows do not meet.

    :param num_pairs: pairs of the data set.
    :param batch_size: pairs of a batch; the last may be smaller.
    :param seed: same seed, same batches, on every machine.
    :returns: positions.
    """
    order: list[int] = np.random.default_rng(seed).permutation(num_pairs).tolist()
    return [order[start : start + batch_size] for start in range(0, num_pairs, batch_size)]


class _Filling:
    """A batch being filled."""

    def __init__(self, batch_size: int) -> None:
        self.pairs: list[int] = []
        self._batch_size = batch_size
        self._seen: set[int] = set()

    @property
    def is_full(self) -> bool:
        return len(self.pairs) == self._batch_size

    def admit(self, pair: int, texts: frozenset[int], waiting: OrderedDict[int, deque[int]]) -> None:
        """Take a pair in, or let it wait under the smallest text that it clashes on."""
        clashes = self._seen & texts
        if clashes:
            waiting.setdefault(min(clashes), deque()).append(pair)
        else:
            self.pairs.append(pair)
            self._seen |= texts


def _admit_first(waiting: OrderedDict[int, deque[int]], text: int, texts: TextIds, batch: _Filling) -> None:
    """Try the first pair that waits under a text; the text goes to the end of the queue."""
    if batch.is_full:
        return
    queue = waiting.pop(text)
    pair = queue.popleft()
    if queue:
        waiting[text] = queue
    batch.admit(pair, texts.of(pair), waiting)
