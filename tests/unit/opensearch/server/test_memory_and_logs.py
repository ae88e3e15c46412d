import itertools
from pathlib import Path

import pytest

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server.follow import follow
from cl_haystack.opensearch.server.memory import heap_size, megabytes
from cl_haystack.opensearch.server.node import garbage_collector, quoted
from cl_haystack.opensearch.server.tail import CHUNK_BYTES, tail


def test_default_heaps() -> None:
    assert heap_size(None, 1) == "1g"
    assert heap_size(None, 3) == "384m"
    assert heap_size("512M", 1) == "512m"
    assert megabytes("2g") == 2048


@pytest.mark.parametrize("memory", ["64k", "1", "0m", "-1g", "1.5g", "1g -version", "much"])
def test_what_is_no_heap_size_is_refused(memory: str) -> None:
    with pytest.raises(LocalServerError, match="no heap size; expected a number with m or g"):
        heap_size(memory, 1)


def test_more_than_the_machine_has_is_refused() -> None:
    with pytest.raises(LocalServerError, match=r"more than the .* MB of this machine"):
        heap_size("9000g", 1)


def test_large_heaps_get_the_collector_of_java() -> None:
    assert garbage_collector("512m") == garbage_collector("1g") == ["-XX:+UseSerialGC"]
    assert garbage_collector("4g") == []


def test_arguments_with_spaces_and_backslashes_are_quoted() -> None:
    assert quoted(r"C:\Users\A B") == r'"C:\\Users\\A B"'


@pytest.mark.parametrize("lines", [0, 1, 5, 3000, 20000])
def test_tail_equals_the_end_of_all_lines(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "server.log"
    every = [f"line {number} ü" for number in range(12000)]
    path.write_text("\n".join(every) + "\n", encoding="utf-8")
    assert path.stat().st_size > 2 * CHUNK_BYTES
    assert tail(path, lines) == (every[-lines:] if lines else [])


def test_tail_of_no_file_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "absent.log", 5) == []


def test_follow_sees_new_lines_and_a_roll_over(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("old\n", encoding="utf-8")
    lines = follow(path)
    assert next(lines) is None
    with path.open("a", encoding="utf-8") as file:
        file.write("one\ntw")
    assert list(itertools.islice(lines, 2)) == ["one", None]
    with path.open("a", encoding="utf-8") as file:
        file.write("o\n")
    assert list(itertools.islice(lines, 2)) == ["two", None]
    path.rename(tmp_path / "server-1.log")
    path.write_text("first of the new file\n", encoding="utf-8")
    assert list(itertools.islice(lines, 2)) == ["first of the new file", None]
