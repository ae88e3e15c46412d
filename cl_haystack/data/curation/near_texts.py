"""Distinct texts, and which of them are the same but for small edits, found without comparing all with all.

1. A text is known by a digest of its normalized form, so that repeated texts cost nothing.
2. Its MinHash signature has 126 values, of which a byte each is kept. Texts that agree in all three bytes of
   one of the 42 rows are candidates: with a Jaccard similarity of 0.6 of their words and letter triples
   99.996 % of pairs are, with 0.5 99.6 %, with 0.4 94 %.
3. Candidates that agree in enough bytes are read again and compared word by word.

Sources: Broder 1997, "On the resemblance and containment of documents" (SEQUENCES); the banding is that of
Leskovec et al., "Mining of Massive Datasets", 3.4; keeping few bits: Li and König 2010, arXiv:0910.3349.
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from cl_haystack.data.curation.same_statement import is_same_statement
from cl_haystack.data.normalization import normalized, word_list

_NUM_HASHES = 126
_ROW_BYTES = 3
_SEED = 42
_MIN_AGREEMENT = 0.38
_TRIPLES_FROM_CHARS = 200  # the beginning is enough: a long text has words enough besides
_HASHED_AT_ONCE = 2048  # texts
_NEIGHBOURS = 16  # candidates of a text in one row, the next in length: formulas make rows of thousands
_MAX_LENGTH_RATIO = 1.5
_COMPARED_AT_ONCE = 1 << 18
_MAX_ALIKE = 32
_TEXTS_HELD = 5000

Ids = NDArray[np.int64]


class Alike:
    """Which texts are the same but for small edits; small edits may add up, so this is not transitive.

    Of a text that is the same as very many, not all are noted, but all that are the same as a wanted one.

    :param count: number of texts.
    :param num_wanted: how many of them are wanted, the first ones: those of an evaluation.
    """

    def __init__(self, count: int, num_wanted: int) -> None:
        self.leaders = np.arange(count, dtype=np.int64)
        """The first text that is the same as a text and is not led itself, ``(texts,)``."""
        self._others: dict[int, list[int]] = {}
        self._num_wanted = num_wanted

    def wants(self, first: int, second: int) -> bool:
        """Tell whether it matters whether two texts are the same: not where one has very many already."""
        return first < self._num_wanted or all(
            len(self._others.get(text, ())) < _MAX_ALIKE for text in (first, second)
        )

    def add(self, first: int, second: int) -> None:
        """Note that a text is the same as an earlier one; pairs come by the later, then the earlier."""
        for text, other in ((first, second), (second, first)):
            others = self._others.setdefault(text, [])
            if other < self._num_wanted or len(others) < _MAX_ALIKE:
                others.append(other)
        if self.leaders[second] == second and self.leaders[first] == first:
            self.leaders[second] = first

    def of(self, text: int) -> list[int]:
        """Return a text and those that are the same."""
        return [text, *self._others.get(text, ())]

    def texts(self) -> Ids:
        """Return all texts that are the same as another."""
        return np.fromiter(self._others, dtype=np.int64, count=len(self._others))


class _Numbers:
    """Numbers of digests, from 0, in the order of their coming: 12 bytes a slot, a dict takes 150 a text.

    Slots are searched one after the other (linear probing); a third of them at least is free.
    """

    def __init__(self) -> None:
        self._count = 0
        self._digests: array[int] = array("Q", bytes(8 << 10))
        self._numbers: array[int] = array("I", bytes(4 << 10))

    def of(self, digest: int) -> int:
        """Return the number of a 64-bit digest; that of a new one is the count of all before."""
        slot = self._slot(digest)
        if not self._numbers[slot]:
            if 3 * self._count >= 2 * len(self._numbers):
                self._make_room()
                slot = self._slot(digest)
            self._count += 1
            self._digests[slot], self._numbers[slot] = digest, self._count
        return self._numbers[slot] - 1

    def _slot(self, digest: int) -> int:
        mask = len(self._numbers) - 1
        slot = digest & mask
        while self._numbers[slot] and self._digests[slot] != digest:
            slot = (slot + 1) & mask
        return slot

    def _make_room(self) -> None:
        known = zip(self._digests, self._numbers, strict=True)
        num_slots = 2 * len(self._numbers)
        self._digests, self._numbers = array("Q", bytes(8 * num_slots)), array("I", bytes(4 * num_slots))
        for digest, number in known:
            if number:
                slot = self._slot(digest)
                self._digests[slot], self._numbers[slot] = digest, number


class TextTable:
    """Distinct texts by number, with what is remembered of each: 160 bytes, whatever its length.

    :param text_of: reads a text again.
    """

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self._num_chars = array("I")
        self.frequency: Counter[str] = Counter()
        """In how many distinct texts a word is."""
        self._numbers = _Numbers()
        self._signatures: list[NDArray[np.uint8]] = []
        self._waiting: list[list[str]] = []
        self.words = lru_cache(_TEXTS_HELD)(lambda text_id: word_list(text_of(text_id)))
        """Words of a text by its number, read again."""

    def __len__(self) -> int:
        return len(self._num_chars)

    @property
    def num_chars(self) -> Ids:
        """Length of each text, ``(texts,)``."""
        return np.array(self._num_chars, dtype=np.int64)

    def add(self, text: str) -> tuple[int, list[str] | None]:
        """Return the number of a text, and its words where it is new.

        :param text: any text; equal by :func:`~cl_haystack.data.normalization.normalized` is equal.
        :returns: the number, from 0, and the words in order or None.
        """
        form = normalized(text)
        digest = blake2b(form.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = self._numbers.of(int.from_bytes(digest, "big"))
        if number < len(self):
            return number, None
        words = word_list(text)
        self._num_chars.append(len(form))
        self.frequency.update(set(words))
        start = " ".join(words)[:_TRIPLES_FROM_CHARS]
        triples = map("".join, zip(start, start[1:], start[2:], strict=False))
        self._waiting.append([*words, *triples] or [start])
        if len(self._waiting) == _HASHED_AT_ONCE:
            self._hash()
        return number, words

    def rarity(self, word: str) -> float:
        """Return how much a word says: the logarithm of texts by texts that it is in."""
        return math.log1p(len(self) / self.frequency[word]) if word in self.frequency else 0.0

    def alike(self, num_wanted: int = 0) -> "Alike":
        """Compare all texts, and return which are the same but for small edits.

        :param num_wanted: how many of them, the first ones, are compared with all that may be the same.
        :returns: what is the same.
        """
        self._hash()
        found = Alike(len(self), num_wanted)
        if len(self) < 2:
            return found
        for first, second in _candidates(self._take_signatures(), self.num_chars, num_wanted):
            if found.wants(first, second) and self._is_same(first, second):
                found.add(first, second)
        return found

    def _take_signatures(self) -> NDArray[np.uint8]:
        """Put the parts together, each freed as it is copied; they are not needed again."""
        signatures = np.empty((len(self), _NUM_HASHES), dtype=np.uint8)
        end = len(self)
        while self._signatures:
            part = self._signatures.pop()
            signatures[end - len(part) : end] = part
            end -= len(part)
        return signatures

    def _is_same(self, first: int, second: int) -> bool:
        return is_same_statement(self.words(first), self.words(second), self.frequency.__getitem__)

    def _hash(self) -> None:
        if self._waiting:
            rows = RMinHash.digest_matrix_from_token_sets(self._waiting, _NUM_HASHES, _SEED).to_rows()
            self._signatures.append(np.array(rows, dtype=np.uint32).astype(np.uint8))  # (texts, hashes)
            self._waiting = []


def _candidates(signatures: NDArray[np.uint8], num_chars: Ids, num_wanted: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of texts that may be the same, the earlier first; by the later, then the earlier."""
    count = len(signatures)
    found = np.empty(0, dtype=np.int64)
    for start in range(0, _NUM_HASHES, _ROW_BYTES):
        row = signatures[:, start : start + _ROW_BYTES].astype(np.uint32)  # (texts, bytes)
        keys = row[:, 0] << 16 | row[:, 1] << 8 | row[:, 2]  # (texts,)
        order = np.lexsort((num_chars, keys))  # (texts,)
        parts = [found]
        for one, other in _with_equal_keys(keys, order, num_wanted):  # lengths rise within a key
            near = num_chars[other] <= _MAX_LENGTH_RATIO * num_chars[one] + 2
            parts.append(_agreeing(np.minimum(one, other)[near], np.maximum(one, other)[near], signatures))
        found = np.unique(np.concatenate(parts))
    yield from zip((found % count).tolist(), (found // count).tolist(), strict=True)


def _with_equal_keys(
    keys: NDArray[np.integer[Any]], order: Ids, num_wanted: int
) -> Iterator[tuple[Ids, Ids]]:
    """Yield texts, and others of their key that are as long or longer: the next ones, of wanted texts all."""
    wanted_keys = keys[:num_wanted]
    keys = keys[order]
    for distance in range(1, min(_NEIGHBOURS + 1, len(keys))):
        equal = np.flatnonzero(keys[distance:] == keys[:-distance])
        if not len(equal):
            return
        yield order[equal], order[equal + distance]
    starts, ends = (np.searchsorted(keys, wanted_keys, side) for side in ("left", "right"))
    for text in np.flatnonzero(ends - starts > _NEIGHBOURS + 1).tolist():
        members = order[starts[text] : ends[text]]
        place = int(np.flatnonzero(members == text)[0])
        yield np.full(len(members) - place - 1, text), members[place + 1 :]
        yield members[:place], np.full(place, text)


def _agreeing(first: Ids, second: Ids, signatures: NDArray[np.uint8]) -> Ids:
    """Return those pairs whose signatures agree in enough places, as second * texts + first."""
    parts = []
    for start in range(0, len(first), _COMPARED_AT_ONCE):
        one, other = first[start : start + _COMPARED_AT_ONCE], second[start : start + _COMPARED_AT_ONCE]
        agreement = (signatures[one] == signatures[other]).mean(axis=1)  # (pairs,)
        enough = agreement >= _MIN_AGREEMENT
        parts.append(other[enough] * len(signatures) + one[enough])
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
