"""How long work tells the outside where it stands: a callback, so that no library code prints or draws."""

from collections.abc import Callable
from dataclasses import dataclass


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
