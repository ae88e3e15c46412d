"""How long work tells the outside where it stands: a callback, so that no library code prints or draws."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

_TOLD_EVERY = 1000  # items: often enough for who watches a stream, seldom enough to cost nothing

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a piece of long work.

    :param done: units finished so far.
    :param total: units expected, or None where the input is a stream of unknown length.
    :param note: a few words for the person who watches, such as ``loss 0.123``.
    """

    done: int
    total: int | None
    note: str = ""


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Drop a progress report: the default wherever nobody watches."""


def counted(items: Iterable[Item], on_progress: OnProgress, note: str = "") -> Iterator[Item]:
    """Pass on a stream of unknown length, and tell now and then how much of it has gone by.

    :param items: the stream.
    :param on_progress: told the number of items.
    :param note: a few words for the person who watches.
    :yields: the same items.
    """
    for number, item in enumerate(items):
        if number % _TOLD_EVERY == 0:
            on_progress(Progress(number, None, note))
        yield item
