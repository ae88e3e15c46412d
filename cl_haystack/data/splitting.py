"""Train and held-out parts that share no group (a document, a module, a topic), the same on every machine.

Whether a group is held out depends on its name and the seed alone, not on its neighbours or on the order, so
data that grows keeps its split.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from cl_haystack.errors import ConfigurationError

Item = TypeVar("Item")


def is_held_out(group: str, *, fraction: float, seed: int = 0) -> bool:
    """Decide whether a group belongs to the held-out part.

    :param group: the group's name.
    :param fraction: the expected share of held-out groups, 0 to 1.
    :param seed: another seed gives another split.
    :returns: the same answer for the same arguments, everywhere.
    :raises ConfigurationError: the fraction is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise ConfigurationError(f"fraction is {fraction}; expected a number from 0 to 1")
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
