"""The end of a log, without reading all of it."""

from pathlib import Path

CHUNK_BYTES = 64 * 1024


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a text file.

    :param path: the file; it need not exist.
    :param lines: how many at most.
    :returns: the lines without their ends; empty where there is no file.
    """
    try:
        with path.open("rb") as file:
            position = file.seek(0, 2)
            content = b""
            while position > 0 and content.count(b"\n") <= lines:
                step = min(CHUNK_BYTES, position)
                position = file.seek(position - step)
                content = file.read(step) + content
    except FileNotFoundError:
        return []
    return content.decode("utf-8", errors="replace").splitlines()[-lines:] if lines > 0 else []
