"""Write a manifest, and read it as strictly as it was written.

JSON's loose ends are where two readers of one file disagree: a key given twice, ``NaN``, a number in quotes.
None of them passes here, so what was verified is what everybody else reads too.

The last field is the file's own ``checksum``: SHA-256 of its bytes, with 64 zeros where the checksum stands.
The hashes of the other files would not tell of a changed prefix.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NoReturn

import pydantic

from cl_haystack.bundle.files import regular_size
from cl_haystack.bundle.manifest import FORMAT, FORMAT_VERSION, MANIFEST_FILE, Manifest
from cl_haystack.errors import BundleError, quote

_ZEROS = b"0" * 64
_AGAIN = "the bundle is damaged: copy or export it again"


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the bytes of ``manifest.json``, with their checksum.

    :param manifest: the manifest; a checksum that it states already is computed anew.
    :returns: UTF-8 JSON.
    """
    blank = manifest.model_copy(update={"checksum": _ZEROS.decode()})
    content = (blank.model_dump_json(indent=2) + "\n").encode()
    before, _, after = content.rpartition(_ZEROS)
    return before + hashlib.sha256(content).hexdigest().encode() + after


def read_manifest(directory: Path) -> Manifest:
    """Read and validate the manifest of a bundle.

    :param directory: the bundle.
    :returns: its manifest.
    :raises BundleError: the directory is no bundle, or its manifest is damaged, unsafe or of another version.
    """
    if not directory.is_dir():
        raise BundleError(
            directory,
            "no such directory or packed file; make a bundle with `cl-haystack export CHECKPOINT BUNDLE`",
        )
    file = directory / MANIFEST_FILE
    if not file.exists() and not file.is_symlink():
        hint = (
            "it looks like a checkpoint: export it with `cl-haystack export`"
            if (directory / "config.json").exists()
            else "make a bundle with `cl-haystack export CHECKPOINT BUNDLE`"
        )
        raise BundleError(directory, f"holds no {MANIFEST_FILE}; {hint}")
    regular_size(directory, MANIFEST_FILE)
    return parse_manifest(file.read_bytes(), file)


def parse_manifest(content: bytes, file: Path | str) -> Manifest:
    """Validate the bytes of a manifest.

    :param content: UTF-8 JSON.
    :param file: where it comes from, for messages.
    :returns: the manifest.
    :raises BundleError: the bytes are no manifest that this version reads.
    """
    raw = _strict_json(content, file)
    if not isinstance(raw, dict):
        raise BundleError(file, f"holds a JSON {type(raw).__name__}, expected an object; {_AGAIN}")
    if raw.get("format") != FORMAT:
        found = raw.get("format")
        raise BundleError(
            file, f"is not a cl-haystack manifest: format is {found!r:.80}, expected {FORMAT!r}"
        )
    if raw.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            file,
            f"has format_version {raw.get('format_version')!r:.80}; this version of cl-haystack reads "
            f"{FORMAT_VERSION}: upgrade cl-haystack or export the checkpoint again",
        )
    try:
        manifest = Manifest.model_validate_json(content, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        field = f"field {quote(where)}: " if where else ""
        raise BundleError(file, f"{field}{first['msg']}{more}; {_AGAIN}") from error
    _check_checksum(content, manifest.checksum, file)
    return manifest


def _check_checksum(content: bytes, stated: str | None, file: Path | str) -> None:
    if stated is None:  # written before there were checksums, or by hand
        return
    before, _, after = content.rpartition(stated.encode())
    found = hashlib.sha256(before + _ZEROS + after).hexdigest()
    if found != stated:
        raise BundleError(
            file, f"states checksum {stated[:16]}…, its bytes give {found[:16]}…; it was changed: {_AGAIN}"
        )


def _strict_json(content: bytes, file: Path | str) -> Any:
    def refuse(problem: str) -> NoReturn:
        raise BundleError(file, f"{problem}; {_AGAIN}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                refuse(f"gives the key {quote(key)} twice")
            seen[key] = value
        return seen

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(f"holds {quote(number)}, expected a finite number")

    try:
        return json.loads(
            content.decode(), object_pairs_hook=unique, parse_float=finite, parse_constant=finite
        )
    except RecursionError:
        raise BundleError(file, f"is nested too deeply; {_AGAIN}") from None
    except ValueError as error:
        raise BundleError(file, f"is not JSON ({error}); {_AGAIN}") from error
