"""Parts of data: train and held-out parts that share no group, later times, and nested small subsets.

Whether a group (a document, a module, a topic) is held out depends on its name and the seed alone, not on its
neighbours, the order or the machine, so data that grows keeps its split. A split by time moves with the data.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from cl_haystack.data.normalization import normalized
from cl_haystack.data.reading import read_pairs
from cl_haystack.data.records import Pair, parse_time
from cl_haystack.data.writing import write_pairs_beside
from cl_haystack.errors import ConfigurationError, DataError, quote
from cl_haystack.progress import OnProgress, counted, ignore

_GROUPS: dict[str, Callable[[Pair], str]] = {
    "document": lambda pair: pair.document_id or normalized(pair.positive),
    "query": lambda pair: normalized(pair.anchor),
    "topic": lambda pair: normalized(_told(pair, "topic")),
    "source": lambda pair: pair.source or "",
}
SPLITS = (*_GROUPS, "time")
"""What pairs can be split by."""

Item = TypeVar("Item")
Part = Literal["train", "held_out", "neither"]


def is_held_out(group: str, *, fraction: float, seed: int = 0) -> bool:
    """Decide whether a group belongs to the held-out part.

    :param group: the group's name.
    :param fraction: the expected share of held-out groups, 0 to 1.
    :param seed: another seed gives another split.
    :returns: the same answer for the same arguments, everywhere.
    :raises ConfigurationError: the fraction is not between 0 and 1.
    """
    _check_fraction(fraction)
    digest = hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def split_by_group(
    items: Iterable[Item], group_of: Callable[[Item], str], *, fraction: float = 0.5, seed: int = 0
) -> tuple[list[Item], list[Item]]:
    """Split items so that no group is in both parts.

    :param items: anything.
    :param group_of: names an item's group.
    :param fraction: the expected share of held-out *groups*; groups of unequal size give another share of
        items.
    :param seed: another seed gives another split.
    :returns: training items and held-out items, each in the order given.
    :raises ConfigurationError: the fraction is not between 0 and 1.
    """
    train: list[Item] = []
    held_out: list[Item] = []
    for item in items:
        part = held_out if is_held_out(group_of(item), fraction=fraction, seed=seed) else train
        part.append(item)
    return train, held_out


class SplitRule:
    """Says of each pair in which part it is; learned by reading all pairs once, by time twice.

    A document may be the positive of one pair and a negative of another, and a query have several documents:
    a training pair that holds a positive of the held-out part, or shares its query or document, is in neither
    part. Only a split by ``source`` leaves such pairs where they are.

    Pairs are not held: memory grows by about 100 bytes for each distinct text of the held-out part.

    :param read: reads all pairs, from the beginning at each call.
    :param by: what must not be in both: ``document`` (its id, or the positive where no id is told), ``query``
        (the anchor), ``topic``, ``source``, or ``time``, where the newest pairs are held out.
    :param fraction: the expected share of held-out groups; by time, that of held-out pairs, but all of one
        time are in the same part.
    :param seed: another seed gives another split, but for time.
    :raises ConfigurationError: the kind of group is unknown, or the fraction not between 0 and 1.
    :raises DataError: the split is by topic or time, and a pair has none.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Pair]],
        *,
        by: str = "document",
        fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        if by not in SPLITS:
            raise ConfigurationError(f"cannot split by {by!r}; expected one of {', '.join(SPLITS)}")
        _check_fraction(fraction)
        self._told = f"split by {by} with fraction {fraction}"
        self._is_held_out = (
            _newest(read(), fraction) if by == "time" else partial(_in_group, _GROUPS[by], fraction, seed)
        )
        self._texts: set[int] = set()
        self._documents: set[int] = set()
        if by == "source":
            return
        for pair in filter(self._is_held_out, read()):
            self._texts.update(_digest(normalized(text)) for text in (pair.anchor, pair.positive))
            if pair.document_id:
                self._documents.add(_digest(pair.document_id))

    def part_of(self, pair: Pair) -> Part:
        """Return the part that a pair is in."""
        if self._is_held_out(pair):
            return "held_out"
        if pair.document_id and _digest(pair.document_id) in self._documents:
            return "neither"
        texts = (_digest(normalized(text)) for text in (pair.anchor, pair.positive, *pair.negatives))
        return "train" if self._texts.isdisjoint(texts) else "neither"

    def check(self, counts: Mapping[Part, int]) -> None:
        """Refuse parts of which one is empty.

        :param counts: pairs of each part.
        :raises ConfigurationError: one has none.
        """
        for count, name in ((counts["train"], "training"), (counts["held_out"], "held-out")):
            if not count:
                raise ConfigurationError(
                    f"no pair is left in the {name} part of {sum(counts.values()):,} pairs {self._told}: "
                    "choose another fraction, seed or kind of group"
                )


def split_pairs(
    pairs: Sequence[Pair], *, by: str = "document", fraction: float = 0.2, seed: int = 0
) -> tuple[list[Pair], list[Pair], int]:
    """Split pairs so that no group is in both parts, and no held-out text in training at all.

    :param pairs: all pairs.
    :param by: what must not be in both, see :class:`SplitRule`.
    :param fraction: the expected share of held-out groups.
    :param seed: another seed gives another split.
    :returns: training pairs and held-out pairs, in their order, and how many are in neither.
    :raises ConfigurationError: the kind of group is unknown, or a part is empty.
    :raises DataError: the split is by topic or time, and a pair has none.
    """
    rule = SplitRule(lambda: pairs, by=by, fraction=fraction, seed=seed)
    parts: dict[Part, list[Pair]] = {"train": [], "held_out": [], "neither": []}
    for pair in pairs:
        parts[rule.part_of(pair)].append(pair)
    rule.check({part: len(found) for part, found in parts.items()})
    return parts["train"], parts["held_out"], len(parts["neither"])


def split_file(
    path: Path,
    *,
    train: Path,
    held_out: Path,
    by: str = "document",
    fraction: float = 0.2,
    seed: int = 0,
    on_progress: OnProgress = ignore,
) -> dict[Part, int]:
    """Split a file of pairs, of any size, into two; see :class:`SplitRule`.

    :param path: all pairs.
    :param train: where training pairs go, JSONL.
    :param held_out: where held-out pairs go, JSONL.
    :param by: what must not be in both.
    :param fraction: the expected share of held-out groups.
    :param seed: another seed gives another split.
    :param on_progress: told the pairs read, of each pass.
    :returns: pairs of each part.
    :raises ConfigurationError: the kind of group is unknown, or a part is empty; then nothing is written.
    :raises DataError: a file cannot be read or written, or a pair lacks what it is split by.
    """
    rule = SplitRule(
        lambda: counted(read_pairs(path), on_progress, "looking"), by=by, fraction=fraction, seed=seed
    )
    counts: dict[Part, int] = {"train": 0, "held_out": 0, "neither": 0}
    with write_pairs_beside(train) as write_train, write_pairs_beside(held_out) as write_held_out:
        writers = {"train": write_train, "held_out": write_held_out}
        for pair in counted(read_pairs(path), on_progress, "writing"):
            part = rule.part_of(pair)
            counts[part] += 1
            if part != "neither":
                writers[part](pair)
        rule.check(counts)
    return counts


def _in_group(group_of: Callable[[Pair], str], fraction: float, seed: int, pair: Pair) -> bool:
    return is_held_out(group_of(pair), fraction=fraction, seed=seed)


def _newest(pairs: Iterable[Pair], fraction: float) -> Callable[[Pair], bool]:
    times = np.sort(np.fromiter(map(_timestamp, pairs), dtype=np.float64))
    num_held_out = round(fraction * len(times))
    since = times[-num_held_out] if num_held_out else np.inf
    return lambda pair: _timestamp(pair) >= since


def _timestamp(pair: Pair) -> float:
    return parse_time(_told(pair, "time")).timestamp()


def _told(pair: Pair, name: Literal["topic", "time"]) -> str:
    value: str | None = getattr(pair, name)
    if value is None:
        raise DataError(f"a pair has no {name!r} ({quote(pair.anchor)}); expected one in each to split by it")
    return value


def _digest(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def nested_subsets(pairs: Iterable[Pair], sizes: Sequence[int], *, seed: int = 0) -> dict[int, list[Pair]]:
    """Draw subsets for a learning curve, each within all larger ones.

    :param pairs: all pairs; read once, and no more of them held than the largest subset has.
    :param sizes: sizes of the subsets; one larger than all pairs is all of them.
    :param seed: another seed draws other pairs.
    :returns: pairs by size, each in the order given.
    :raises ConfigurationError: no size is given, or one is below 1.
    """
    if not sizes or min(sizes) < 1:
        raise ConfigurationError(f"sizes are {list(sizes)}; expected numbers from 1, such as 100 and 300")
    # Rank and place decide alone: no two pairs have one place, so pairs themselves are never compared.
    drawn = heapq.nsmallest(max(sizes), _ranked(pairs, seed))
    return {size: [pair for _, _, pair in sorted(drawn[:size], key=itemgetter(1))] for size in sizes}


def _ranked(pairs: Iterable[Pair], seed: int) -> Iterator[tuple[bytes, int, Pair]]:
    """Give each pair a rank that depends on its texts and the seed; of repeated ones each has its own."""
    repeats: Counter[bytes] = Counter()
    for place, pair in enumerate(pairs):
        texts = f"{seed}\0{pair.anchor}\0{pair.positive}".encode("utf-8", "surrogatepass")
        name = hashlib.sha256(texts).digest()[:16]
        repeats[name] += 1
        yield hashlib.sha256(name + b"%d" % repeats[name]).digest(), place, pair


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ConfigurationError(f"fraction is {fraction}; expected a number from 0 to 1")
