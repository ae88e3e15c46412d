"""Parts of a file of pairs: held-out groups, later times, and small subsets that contain one another.

Whether a pair is in a part depends on its group and the seed, not on its place, so data that grows keeps its
parts; only the size of a subset depends on how many pairs there are.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence

from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import Pair
from cl_haystack.data.splitting import is_held_out
from cl_haystack.errors import ConfigurationError

GROUPS: dict[str, Callable[[Pair], str]] = {
    "document": lambda pair: normalized(pair.positive),
    "query": lambda pair: normalized(pair.anchor),
    "source": lambda pair: pair.source or "",
}
"""What a group may be: its name, and how a pair tells it."""


def split_pairs(
    pairs: Sequence[Pair], *, by: str = "document", fraction: float = 0.2, seed: int = 0
) -> tuple[list[Pair], list[Pair], int]:
    """Split pairs so that no group is in both parts, and no held-out text in training at all.

    A document may be the positive of one pair and a negative of another, and a query have several documents:
    a training pair that holds a positive of the held-out part, or shares its query, is in neither part.

    :param pairs: all pairs.
    :param by: what must not be in both: ``document`` (the positive), ``query`` (the anchor) or ``source``.
    :param fraction: the expected share of held-out groups.
    :param seed: another seed gives another split.
    :returns: training pairs and held-out pairs, in their order, and how many are in neither.
    :raises ConfigurationError: the kind of group is unknown, or a part is empty.
    """
    if by not in GROUPS:
        raise ConfigurationError(f"cannot split by {by!r}; expected one of {', '.join(GROUPS)}")
    group_of = GROUPS[by]
    held_out = [pair for pair in pairs if is_held_out(group_of(pair), fraction=fraction, seed=seed)]
    rest = [pair for pair in pairs if not is_held_out(group_of(pair), fraction=fraction, seed=seed)]
    train = rest
    if by != "source":
        texts = {normalized(text) for pair in held_out for text in (pair.anchor, pair.positive)}
        train = [
            pair
            for pair in rest
            if texts.isdisjoint(map(normalized, (pair.anchor, pair.positive, *pair.negatives)))
        ]
    for name, part in (("training", train), ("held-out", held_out)):
        if not part:
            raise ConfigurationError(
                f"no pair is left in the {name} part of {len(pairs):,} pairs split by {by} with fraction "
                f"{fraction}: choose another fraction, seed or kind of group"
            )
    return train, held_out, len(rest) - len(train)


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
