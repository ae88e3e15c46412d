"""Parts of data: train and held-out parts that share no group, later times, and nested small subsets.

Whether a group (a document, a module, a topic) is held out depends on its name and the seed alone, not on its
neighbours, the order or the machine, so data that grows keeps its split. A split by time moves with the data.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar

from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import Pair, parse_time
from cl_haystack.errors import ConfigurationError, DataError, quote

_GROUPS: dict[str, Callable[[Pair], str]] = {
    "document": lambda pair: pair.document_id or normalized(pair.positive),
    "query": lambda pair: normalized(pair.anchor),
    "topic": lambda pair: normalized(_told(pair, "topic")),
    "source": lambda pair: pair.source or "",
}
SPLITS = (*_GROUPS, "time")
"""What pairs can be split by."""

Item = TypeVar("Item")


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


def split_pairs(
    pairs: Sequence[Pair], *, by: str = "document", fraction: float = 0.2, seed: int = 0
) -> tuple[list[Pair], list[Pair], int]:
    """Split pairs so that no group is in both parts, and no held-out text in training at all.

    A document may be the positive of one pair and a negative of another, and a query have several documents:
    a training pair that holds a positive of the held-out part, or shares its query or document, is in neither
    part. Only a split by ``source`` leaves such pairs where they are.

    :param pairs: all pairs.
    :param by: what must not be in both: ``document`` (its id, or the positive where no id is told), ``query``
        (the anchor), ``topic``, ``source``, or ``time``, where the newest pairs are held out.
    :param fraction: the expected share of held-out groups; by time, that of held-out pairs, but all of one
        time are in the same part.
    :param seed: another seed gives another split, but for time.
    :returns: training pairs and held-out pairs, in their order, and how many are in neither.
    :raises ConfigurationError: the kind of group is unknown, or a part is empty.
    :raises DataError: the split is by topic or time, and a pair has none.
    """
    if by not in SPLITS:
        raise ConfigurationError(f"cannot split by {by!r}; expected one of {', '.join(SPLITS)}")
    if by == "time":
        rest, held_out = _split_by_time(pairs, fraction)
    else:
        rest, held_out = split_by_group(pairs, _GROUPS[by], fraction=fraction, seed=seed)
    train = rest if by == "source" else _sharing_nothing(rest, held_out)
    for name, part in (("training", train), ("held-out", held_out)):
        if not part:
            raise ConfigurationError(
                f"no pair is left in the {name} part of {len(pairs):,} pairs split by {by} with fraction "
                f"{fraction}: choose another fraction, seed or kind of group"
            )
    return train, held_out, len(rest) - len(train)


def _split_by_time(pairs: Sequence[Pair], fraction: float) -> tuple[list[Pair], list[Pair]]:
    _check_fraction(fraction)
    times = [parse_time(_told(pair, "time")) for pair in pairs]
    num_held_out = round(fraction * len(times))
    since = sorted(times)[-num_held_out] if num_held_out else datetime.max.replace(tzinfo=UTC)
    train = [pair for pair, time in zip(pairs, times, strict=True) if time < since]
    return train, [pair for pair, time in zip(pairs, times, strict=True) if time >= since]


def _told(pair: Pair, name: Literal["topic", "time"]) -> str:
    value: str | None = getattr(pair, name)
    if value is None:
        raise DataError(f"a pair has no {name!r} ({quote(pair.anchor)}); expected one in each to split by it")
    return value


def _sharing_nothing(pairs: Sequence[Pair], held_out: Sequence[Pair]) -> list[Pair]:
    """Return the pairs without a text or a document of the held-out part."""
    texts = {normalized(text) for pair in held_out for text in (pair.anchor, pair.positive)}
    documents = {pair.document_id for pair in held_out if pair.document_id}
    return [
        pair
        for pair in pairs
        if pair.document_id not in documents
        and texts.isdisjoint(map(normalized, (pair.anchor, pair.positive, *pair.negatives)))
    ]


def nested_subsets(pairs: Sequence[Pair], sizes: Sequence[int], *, seed: int = 0) -> dict[int, list[Pair]]:
    """Draw subsets for a learning curve, each within all larger ones.

    :param pairs: all pairs.
    :param sizes: sizes of the subsets; one larger than all pairs is all of them.
    :param seed: another seed draws other pairs.
    :returns: pairs by size, each in the order given.
    :raises ConfigurationError: no size is given, or one is below 1.
    """
    if not sizes or min(sizes) < 1:
        raise ConfigurationError(f"sizes are {list(sizes)}; expected numbers from 1, such as 100 and 300")
    repeats: dict[bytes, int] = defaultdict(int)
    keys = []
    for pair in pairs:
        name = f"{seed}\0{pair.anchor}\0{pair.positive}".encode("utf-8", "surrogatepass")
        repeats[name] += 1
        keys.append(hashlib.sha256(name + b"\0%d" % repeats[name]).digest())
    ranked = sorted(range(len(pairs)), key=keys.__getitem__)
    return {size: [pairs[place] for place in sorted(ranked[:size])] for size in sizes}


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ConfigurationError(f"fraction is {fraction}; expected a number from 0 to 1")
