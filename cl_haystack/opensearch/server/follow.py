"""Lines of a log as they are written, across its roll-overs."""

import time
from collections.abc import Iterator
from pathlib import Path

POLL_S = 0.3


def follow(path: Path) -> Iterator[str | None]:
    """Yield each line that is added to a log from now on, and None whenever there is nothing new.

    :param path: the log; it need not exist yet, and may be replaced by a new one.
    :yields: a line without its end, or None; for ever.
    """
    position = path.stat().st_size if path.is_file() else 0
    identity = path.stat().st_ino if path.is_file() else None
    rest = b""
    while True:
        if path.is_file():
            status = path.stat()
            if status.st_ino != identity or status.st_size < position:
                position, identity, rest = 0, status.st_ino, b""
            with path.open("rb") as file:
                file.seek(position)
                added = file.read()
            position += len(added)
            *lines, rest = (rest + added).split(b"\n")
            yield from (line.decode("utf-8", errors="replace").rstrip("\r") for line in lines)
        yield None
        time.sleep(POLL_S)
