"""A stream in windows: each small enough to hold, prepared while the one before is used."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

from cl_haystack.encoder.tokenization import check_text

_MAX_WINDOW_CHARS = 1_000_000  # texts as given, before they are cut: 10 MB texts come one by one

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def text_windows(texts: Iterable[str], max_texts: int) -> Iterator[list[str]]:
    """Group texts, in order, into windows of at most ``max_texts`` and of a bounded amount of text.

    :param texts: any iterable, also an endless one; it is read in the calling thread.
    :param max_texts: most texts of a window.
    :yields: the windows, none of them empty; before an error, all that was read until then.
    :raises TypeError: an element is not a string; its position is named.
    """
    failures: list[Exception] = []
    window: list[str] = []
    chars = 0
    for text in _until_failure(_checked(texts), failures):
        window.append(text)
        chars += len(text)
        if len(window) == max_texts or chars >= _MAX_WINDOW_CHARS:
            yield window
            window, chars = [], 0
    if window:
        yield window
    for failure in failures:
        raise failure


def _checked(texts: Iterable[str]) -> Iterator[str]:
    for position, text in enumerate(texts):
        check_text(text, position)
        yield text


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """Yield items; an error ends them and is kept, to be raised when what came before it has been used."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 (raised by those who read the items)
        failures.append(error)


def one_ahead(items: Iterable[Item], prepare: Callable[[Item], Prepared]) -> Iterator[Prepared]:
    """Prepare each item in another thread while the caller uses the one before it.

    A single item is prepared at once, without a thread.

    :param items: read in the calling thread, one ahead of what was yielded.
    :param prepare: called with each item, in order.
    :yields: what ``prepare`` returned, in order; before an error of ``items``, all that was read until then.
    """
    failures: list[Exception] = []
    iterator = _until_failure(items, failures)
    first, second = list(islice(iterator, 1)), list(islice(iterator, 1))
    if second:
        yield from _in_another_thread(first[0], chain(second, iterator), prepare)
    else:
        yield from map(prepare, first)
    for failure in failures:
        raise failure


def _in_another_thread(
    first: Item, others: Iterable[Item], prepare: Callable[[Item], Prepared]
) -> Iterator[Prepared]:
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as thread:
        current = thread.submit(prepare, first)
        for item in others:
            following = thread.submit(prepare, item)
            yield current.result()
            current = following
        yield current.result()
