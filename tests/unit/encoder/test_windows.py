"""Streams: nothing lost, memory bounded, read no further ahead than promised."""

import itertools
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.encoder import windows as windows_module
from cl_haystack.encoder.windows import one_ahead, text_windows


@given(st.lists(st.text(max_size=5), max_size=50), st.integers(1, 7))
def test_windows_hold_every_text_once_in_order(texts: list[str], size: int) -> None:
    windows = list(text_windows(iter(texts), size))
    assert list(itertools.chain.from_iterable(windows)) == texts
    assert all(0 < len(window) <= size for window in windows)
    assert all(len(window) == size for window in windows[:-1])


def test_windows_hold_a_bounded_amount_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "_MAX_WINDOW_CHARS", 10)
    sizes = [len(window) for window in text_windows(["xxxx"] * 9 + ["x" * 99, "y"], 100)]
    assert sizes == [3, 3, 3, 1, 1]


def test_a_wrong_element_is_named_by_its_place_in_the_whole_stream() -> None:
    with pytest.raises(TypeError, match="text 5 is NoneType"):
        list(text_windows(["a"] * 5 + [None], 2))  # type: ignore[list-item]


@given(st.lists(st.integers(), max_size=20))
def test_preparing_ahead_is_a_map(items: list[int]) -> None:
    assert list(one_ahead(items, lambda item: item + 1)) == [item + 1 for item in items]


def test_an_endless_stream_is_read_one_ahead_in_the_callers_thread() -> None:
    readers, preparers, read = set(), set(), []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            readers.add(threading.get_ident())
            read.append(number)
            yield number

    def prepare(number: int) -> int:
        preparers.add(threading.get_ident())
        return number

    stream = one_ahead(endless(), prepare)
    for expected in range(10):
        assert next(stream) == expected
        assert len(read) <= expected + 2
    stream.close()
    assert readers == {threading.get_ident()}
    assert len(preparers) == 1
    assert preparers != readers


def test_a_single_item_needs_no_thread() -> None:
    assert list(one_ahead(["only"], lambda _: threading.get_ident())) == [threading.get_ident()]


def test_a_failure_reaches_the_reader_after_what_came_before() -> None:
    stream = one_ahead([1, 2, 0, 3], lambda number: 6 // number)
    assert [next(stream), next(stream)] == [6, 3]
    with pytest.raises(ZeroDivisionError):
        next(stream)


@given(st.integers(0, 20), st.integers(1, 7))
def test_what_came_before_an_error_of_the_source_is_not_lost(count: int, size: int) -> None:
    def source() -> Iterator[str]:
        yield from map(str, range(count))
        raise OSError("the file ends here")

    found: list[str] = []
    with pytest.raises(OSError, match="the file ends here"):
        found.extend(itertools.chain.from_iterable(one_ahead(text_windows(source(), size), list)))
    assert found == list(map(str, range(count)))


def test_what_came_before_a_wrong_element_is_not_lost() -> None:
    found: list[str] = []
    texts = ["x"] * 47 + [None]
    with pytest.raises(TypeError, match="text 47 is NoneType"):
        found.extend(itertools.chain.from_iterable(one_ahead(text_windows(texts, 16), list)))  # type: ignore[arg-type]
    assert len(found) == 47
