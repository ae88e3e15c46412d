"""The folder that keeps the index data of a server, and a note in it about who wrote it.

The note keeps three mistakes from doing harm: an older version on newer data (it cannot read them), another
number of nodes (they would find no majority, or form a second cluster), and a folder full of something else.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cl_haystack.errors import LocalServerError

NOTE = "cl-haystack.json"


class DataNote(BaseModel):
    """What the folder says about itself.

    :param format: version of this file format.
    :param version: OpenSearch version that wrote the data last.
    :param nodes: how many nodes the data belong to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    version: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$")]
    nodes: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class DataFolder:
    """A folder of index data.

    :param path: where it is, or will be.
    """

    path: Path

    def note(self) -> DataNote | None:
        """Return what the folder says about itself, or None where no server has used it yet.

        :returns: the note, or None.
        :raises LocalServerError: the note is damaged.
        """
        file = self.path / NOTE
        try:
            return DataNote.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            raise LocalServerError(
                f"{file} cannot be read; expected the note that a local server leaves there: use "
                "another folder with --data, or remove this one"
            ) from error

    @contextmanager
    def claimed(self, version: str, nodes: int) -> Iterator[None]:
        """Keep the folder for a server that is started in the block.

        Where the start fails, a fresh folder is as before. The note of existing data is rewritten only after
        the start, so that a failed upgrade does not claim what it has not touched.

        :param version: OpenSearch version of the server.
        :param nodes: its number of nodes.
        :returns: nothing; the block may start the server.
        :raises LocalServerError: the data in the folder are not for such a server.
        """
        fresh = self.note() is None
        self.check(version, nodes)
        if fresh:
            self.record(version, nodes)
        try:
            yield
        except BaseException:
            if fresh:
                self.remove()
            raise
        self.record(version, nodes)

    def check(self, version: str, nodes: int) -> None:
        """Refuse a server for which the data in the folder are not.

        :param version: its OpenSearch version.
        :param nodes: its number of nodes.
        :raises LocalServerError: it could not use them, or the folder holds something else.
        """
        note = self.note()
        if note is None:
            self._require_unused()
        elif numbers(note.version) > numbers(version):
            raise LocalServerError(
                f"the data in {self.path} were written by OpenSearch {note.version}, which {version} cannot "
                f"read; start version {note.version}, use another folder with --data, or remove them with "
                "`cl-haystack opensearch clean`"
            )
        elif note.nodes != nodes:
            raise LocalServerError(
                f"the data in {self.path} belong to a cluster of {note.nodes} node(s), not {nodes}; start it "
                f"with --nodes {note.nodes}, use another folder with --data, or remove them with "
                "`cl-haystack opensearch clean`"
            )

    def record(self, version: str, nodes: int) -> None:
        """Write the note."""
        self.path.mkdir(parents=True, exist_ok=True)
        note = DataNote(version=version, nodes=nodes)
        draft = self.path / f"{NOTE}.part"
        draft.write_text(note.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draft.replace(self.path / NOTE)

    def remove(self) -> bool:
        """Remove what servers have written, and the folder once it is empty.

        :returns: whether there was anything to remove.
        """
        note = self.note()
        if note is None:
            return False
        for number in range(1, note.nodes + 1):
            shutil.rmtree(self.path / f"node-{number}", ignore_errors=True)
        (self.path / NOTE).unlink()
        if not any(self.path.iterdir()):
            self.path.rmdir()
        return True

    def _require_unused(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise LocalServerError(f"{self.path} is a file; expected a folder for the index data")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise LocalServerError(
                f"{self.path} holds other files; expected an empty folder, or one that a local server has "
                "used: choose another with --data"
            )


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers, in the order of which versions follow each other."""
    return tuple(int(part) for part in version.split("."))
