"""Where pairs come from and who says that they are right: a small file beside them, ``PAIRS.datasheet.json``.

A model's notion of similarity is that of its pairs. So the sheet goes with them: into the checkpoint, from
there into the bundle's manifest and its model card. What a command knows it writes itself; source, licence
and who judged, people add.

Source of the questions: Gebru et al. 2018, "Datasheets for datasets", arXiv:1803.09010.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from cl_haystack.bundle.fingerprint import file_entry
from cl_haystack.data.writing import write_beside
from cl_haystack.errors import DataError

FORMAT: Final = "cl-haystack-datasheet"
_SUFFIX = ".datasheet.json"
_SAID_BY_PEOPLE = {"source", "licence", "judged_by", "since", "until"}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFile(_Section):
    """A file that pairs were made of."""

    name: str
    sha256: str
    bytes: int


class Step(_Section):
    """What was done with the pairs: a verb, and its counts."""

    name: str
    counts: dict[str, int | float] = Field(default_factory=dict)


class Datasheet(_Section):
    """What is known of a file of pairs."""

    format: Literal["cl-haystack-datasheet"] = FORMAT
    format_version: Literal[1] = 1
    method: str
    """How texts became pairs: the verb and its methods."""
    source: str = ""
    """Where the texts come from, in words."""
    licence: str = ""
    judged_by: str = ""
    """Who says that the texts belong together: people, clicks, a generator, the documents themselves."""
    since: str = ""
    """When the oldest of it was made, ISO 8601, where that is known."""
    until: str = ""
    num_pairs: int = Field(ge=0)
    sha256: str
    """Hash of the file of pairs: of others the sheet says nothing."""
    bytes: int
    inputs: tuple[SourceFile, ...] = ()
    curation: tuple[Step, ...] = ()
    """What was done since, first step first."""


def datasheet_path(pairs: Path) -> Path:
    """Return where the sheet of a file of pairs lies."""
    return pairs.with_name(pairs.stem + _SUFFIX)


def describe_pairs(
    pairs: str | Path,
    *,
    method: str,
    num_pairs: int,
    inputs: Iterable[Path] = (),
    source: str = "",
    judged_by: str = "",
    since: str = "",
    until: str = "",
    counts: Mapping[str, int | float] | None = None,
) -> Datasheet:
    """Write the sheet of pairs that were just made.

    :param pairs: the file of pairs, complete.
    :param method: how they were made.
    :param num_pairs: how many they are.
    :param inputs: files that they were made of.
    :param source: where the texts come from; None of it where only the files are known.
    :param judged_by: who says that the texts belong together.
    :param since: when the oldest of it was made, ISO 8601.
    :param until: and the newest.
    :param counts: what became of the records.
    :returns: the sheet.
    :raises DataError: it cannot be written.
    """
    pairs = Path(pairs)
    entry = file_entry(pairs)
    sheet = Datasheet(
        method=method,
        source=source,
        judged_by=judged_by,
        since=since,
        until=until,
        num_pairs=num_pairs,
        sha256=entry.sha256,
        bytes=entry.bytes,
        inputs=tuple(_source_file(path) for path in inputs),
        curation=(Step(name=method, counts=dict(counts)),) if counts else (),
    )
    write_datasheet(pairs, sheet)
    return sheet


def carry_datasheet(
    pairs: Path, made: Path, *, num_pairs: int, step: Step, before: Datasheet | None = None
) -> Datasheet:
    """Write the sheet of pairs that were made of others: theirs, and what was done.

    :param pairs: the pairs as they were; without a sheet of their own they are an input of unknown method.
    :param made: the pairs as they are now.
    :param num_pairs: how many they are now.
    :param step: what was done.
    :param before: the sheet of the pairs as they were, where those made take their place; None reads it.
    :returns: the sheet.
    :raises DataError: a sheet cannot be read or written.
    """
    entry = file_entry(made)
    before = before or read_datasheet(pairs) or new_datasheet(pairs, None, num_pairs=0)
    changes = {
        "num_pairs": num_pairs,
        "sha256": entry.sha256,
        "bytes": entry.bytes,
        "inputs": (*before.inputs, SourceFile(name=pairs.name, sha256=before.sha256, bytes=before.bytes)),
        "curation": (*before.curation, step),
    }
    sheet = before.model_copy(update=changes)
    write_datasheet(made, sheet)
    return sheet


def read_datasheet(pairs: str | Path) -> Datasheet | None:
    """Read the sheet of a file of pairs.

    :param pairs: the file of pairs.
    :returns: the sheet; None where there is none, or where it is that of other pairs.
    :raises DataError: the sheet is broken.
    """
    sheet = read_sheet_beside(Path(pairs))
    return sheet if sheet is not None and sheet.sha256 == file_entry(Path(pairs)).sha256 else None


def read_sheet_beside(pairs: Path) -> Datasheet | None:
    """Read the sheet that lies beside a file of pairs, also where it is that of other pairs.

    :param pairs: the file of pairs.
    :returns: the sheet; None where there is none.
    :raises DataError: the sheet is broken.
    """
    path = datasheet_path(pairs)
    if not path.is_file():
        return None
    try:
        return Datasheet.model_validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{place}: {first['msg']}; correct or remove the datasheet", path=path) from None


def new_datasheet(pairs: Path, before: Datasheet | None, *, num_pairs: int) -> Datasheet:
    """Make a sheet of pairs that have none, without writing it.

    :param pairs: the file of pairs.
    :param before: the sheet of the pairs before they were changed: what people said stays, what was counted
        does not; None where there was none.
    :param num_pairs: how many they are.
    :returns: the sheet.
    """
    entry = file_entry(pairs)
    said = {} if before is None else before.model_dump(include=_SAID_BY_PEOPLE)
    return Datasheet(method="not stated", num_pairs=num_pairs, sha256=entry.sha256, bytes=entry.bytes, **said)


def write_datasheet(pairs: Path, sheet: Datasheet) -> None:
    """Write a sheet beside its pairs.

    :param pairs: the file of pairs.
    :param sheet: their sheet.
    :raises DataError: it cannot be written.
    """
    with write_beside(datasheet_path(pairs)) as file:
        file.write(sheet.model_dump_json(indent=2).encode() + b"\n")


def _source_file(path: Path) -> SourceFile:
    entry = file_entry(path)
    return SourceFile(name=path.name, sha256=entry.sha256, bytes=entry.bytes)
