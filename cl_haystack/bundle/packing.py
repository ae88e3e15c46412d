"""A bundle in one file: a ZIP whose members are stored as they are, the same bytes for the same bundle.

No compression (weights do not get smaller), no folders, no links, no dates: of the many things that a ZIP can
hold, what is read back is only what :func:`pack` writes, so there is nothing to unpack that could surprise.
"""

import hashlib
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_haystack.bundle.files import MAX_BYTES
from cl_haystack.bundle.manifest import MANIFEST_FILE, Manifest
from cl_haystack.bundle.manifest_file import parse_manifest
from cl_haystack.bundle.verification import check_hash, check_identity, check_names
from cl_haystack.errors import BundleError, quote

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a ZIP can state
_MAX_FILE_BYTES = sum(MAX_BYTES.values()) + 1_000_000
# The record at the end of a ZIP: signature, four counts, size and place of the table of contents, comment.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _ZIP64_SIGNATURE = b"PK\5\6", b"PK\6\7"
_ZIP64_LOCATOR_BYTES = 20
_MAX_CONTENTS_BYTES = 1_000 * len(MAX_BYTES)  # an entry has 46 bytes and its name
_AGAIN = "get the file again, or pack the bundle with `cl-haystack bundle pack`"
# What zipfile raises over damaged bytes.
_DAMAGE = (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError)


def pack(directory: Path, manifest: Manifest, out: Path) -> None:
    """Write a bundle as one file; it takes its place only when it is complete.

    :param directory: the bundle, verified.
    :param manifest: its manifest.
    :param out: the file, created, or replaced if it is a packed bundle.
    :raises BundleError: ``out`` is something else, or cannot be written.
    """
    if out.exists() and not is_packed(out):
        raise BundleError(out, "exists and is not a packed bundle; it would be replaced: choose another path")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            draft = Path(folder) / out.name
            with zipfile.ZipFile(draft, "w") as archive:
                for name in (MANIFEST_FILE, *sorted(manifest.files)):
                    _add(archive, directory / name)
            draft.replace(out)
    except OSError as error:
        raise BundleError(out, f"cannot be written ({error})") from error


def _add(archive: zipfile.ZipFile, file: Path) -> None:
    member = zipfile.ZipInfo(file.name, _EPOCH)
    member.create_system = 3  # Unix, on every platform, for the same bytes
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    member.file_size = file.stat().st_size
    with file.open("rb") as source, archive.open(member, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def is_packed(path: Path) -> bool:
    """Tell whether a file is a packed bundle, good or damaged.

    :param path: any path.
    :returns: whether it is a ZIP that holds a manifest.
    """
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST_FILE in archive.namelist()
    except _DAMAGE:
        return False


class PackedBundle:
    """An open packed bundle whose table of contents has been checked.

    :param file: the packed bundle, for messages.
    :param archive: the open ZIP.
    """

    def __init__(self, file: Path, archive: zipfile.ZipFile) -> None:
        self._file = file
        self._archive = archive
        self._check_members()
        self.manifest_bytes = archive.read(MANIFEST_FILE)
        self._manifest = parse_manifest(self.manifest_bytes, f"{file}/{MANIFEST_FILE}")
        check_names(file, self._manifest)
        self._check_sizes()
        check_identity(file, self._manifest)

    def check(self) -> None:
        """Compare every member with its hash in the manifest.

        :raises BundleError: one differs.
        """
        for name, expected in self._manifest.files.items():
            with self._archive.open(name) as source:
                found = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
            check_hash(f"{self._file}/{name}", found, expected)

    def extract(self, directory: Path) -> None:
        """Write the files into a folder.

        :param directory: an empty folder.
        """
        for name in self._archive.namelist():
            with self._archive.open(name) as source, (directory / name).open("xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)

    def _check_members(self) -> None:
        members = self._archive.infolist()
        names = [member.orig_filename for member in members]
        unknown = sorted(set(names) - set(MAX_BYTES))
        if unknown:
            raise BundleError(
                self._file,
                f"holds {quote(unknown[0])}, which is not a file of a bundle; refused: {_AGAIN}",
            )
        if len(set(names)) != len(names):
            raise BundleError(self._file, f"holds a file twice; refused: {_AGAIN}")
        if MANIFEST_FILE not in names:
            raise BundleError(self._file, f"holds no {MANIFEST_FILE}; it is not a packed bundle: {_AGAIN}")
        for member in members:
            self._check_member(member)
        if sum(member.file_size for member in members) > self._file.stat().st_size:
            raise BundleError(
                self._file, f"states more bytes than it has; members overlap: refused; {_AGAIN}"
            )

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        problem = None
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            problem = f"{name} is compressed; a packed bundle stores its files as they are"
        elif member.flag_bits & 1:
            problem = f"{name} is encrypted"
        elif stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            problem = f"{name} is a link or another special file"
        elif member.file_size > MAX_BYTES[name]:
            problem = f"{name} has {member.file_size:,} bytes, at most {MAX_BYTES[name]:,} are allowed"
        if problem:
            raise BundleError(self._file, f"{problem}; refused: {_AGAIN}")

    def _check_sizes(self) -> None:
        sizes = {member.filename: member.file_size for member in self._archive.infolist()}
        expected = {name: entry.bytes for name, entry in self._manifest.files.items()}
        expected[MANIFEST_FILE] = len(self.manifest_bytes)
        if missing := sorted(set(expected) - set(sizes)):
            raise BundleError(self._file, f"holds no {missing[0]}, which its manifest names; {_AGAIN}")
        if surplus := sorted(set(sizes) - set(expected)):
            raise BundleError(self._file, f"holds {surplus[0]}, which its manifest does not name; {_AGAIN}")
        for name, size in sizes.items():
            if size != expected[name]:
                raise BundleError(
                    self._file,
                    f"holds {name} with {size:,} bytes, the manifest says {expected[name]:,}; {_AGAIN}",
                )


@contextmanager
def open_packed(file: Path) -> Iterator[PackedBundle]:
    """Open a packed bundle and check what it says of itself; nothing is written.

    :param file: the packed bundle.
    :yields: the bundle, to be checked or extracted.
    :raises BundleError: the file is damaged, or holds what a bundle does not.
    """
    try:
        _check_contents_size(file)
        with zipfile.ZipFile(file) as archive:
            yield PackedBundle(file, archive)
    except (*_DAMAGE, OSError) as error:
        raise BundleError(file, f"is not a packed bundle, or damaged ({error}); {_AGAIN}") from error


def _check_contents_size(file: Path) -> None:
    """Refuse a table of contents that no packed bundle has, before ``zipfile`` reads it into memory."""
    size = file.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise BundleError(
            file, f"has {size:,} bytes, at most {_MAX_FILE_BYTES:,} are allowed; it is not a packed bundle"
        )
    tail_bytes = _ZIP64_LOCATOR_BYTES + _END.size
    with file.open("rb") as stream:
        stream.seek(max(0, size - tail_bytes))
        tail = stream.read(tail_bytes).rjust(tail_bytes, b"\0")
    signature, *_, contents_bytes, _, comment_bytes = _END.unpack(tail[_ZIP64_LOCATOR_BYTES:])
    if signature != _END_SIGNATURE or comment_bytes or tail.startswith(_ZIP64_SIGNATURE):
        raise BundleError(file, f"is not a packed bundle, or damaged (its end is not as packed); {_AGAIN}")
    if contents_bytes > _MAX_CONTENTS_BYTES:
        raise BundleError(
            file,
            f"has a table of contents of {contents_bytes:,} bytes, at most {_MAX_CONTENTS_BYTES:,} are "
            f"allowed; refused: {_AGAIN}",
        )
