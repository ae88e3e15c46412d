"""A bundle in one file: the same bytes twice, the same bundle back, and nothing else accepted."""

import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.bundle import ModelBundle, files
from cl_haystack.bundle.packing import is_packed, open_packed
from cl_haystack.errors import BundleError
from tests.tiny_bundle import make_tiny_bundle, write_manifest


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    return ModelBundle.load(folder).pack(tmp_path / "tiny.zip")


def refused(file: Path) -> str:
    with pytest.raises(BundleError) as caught:
        ModelBundle.load(file)
    return str(caught.value)


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_what_was_packed_comes_back(folder: Path, packed: Path, cache: Path) -> None:
    (folder / "notes.txt").write_text("not of the bundle")
    loaded = ModelBundle.load(packed)
    assert loaded.manifest == ModelBundle.load(folder).manifest
    (folder / "notes.txt").unlink()
    assert contents(loaded.path) == contents(folder)
    assert loaded.path.parent == cache
    assert ModelBundle.load(packed, verify=False).path == loaded.path
    assert len(list(cache.iterdir())) == 1


def test_packing_twice_gives_the_same_bytes(folder: Path, packed: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, (0, 2_000_000_000))
        file.chmod(0o600)
    before = packed.read_bytes()
    again = ModelBundle.load(packed).pack(tmp_path / "again.zip")
    assert again.read_bytes() == ModelBundle.load(folder).pack(packed).read_bytes() == before


def test_any_zip_tool_can_read_it(packed: Path, folder: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(packed, tmp_path / "out")
    assert ModelBundle.load(tmp_path / "out").manifest == ModelBundle.load(folder).manifest


def test_unpack_makes_a_directory_of_ones_own(
    packed: Path, folder: Path, tmp_path: Path, cache: Path
) -> None:
    unpacked = ModelBundle.unpack(packed, tmp_path / "new" / "bundle")
    assert contents(unpacked.path) == contents(folder)
    assert stat.S_IMODE(unpacked.path.stat().st_mode) == 0o755
    assert not cache.exists()


def test_nothing_of_the_user_is_overwritten(packed: Path, folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep me")
    with pytest.raises(BundleError, match="exists"):
        ModelBundle.unpack(packed, precious)
    with pytest.raises(BundleError, match="not a packed bundle"):
        ModelBundle.load(folder).pack(precious / "file")
    with pytest.raises(BundleError, match="not a packed bundle"):
        ModelBundle.load(folder).pack(precious)
    assert contents(precious) == {"file": b"keep me"}


def test_damaged_bundle_is_not_packed(folder: Path, tmp_path: Path) -> None:
    bundle = ModelBundle.load(folder)
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(BundleError, match="SHA-256"):
        bundle.pack(tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_damaged_copy_in_the_cache_is_replaced(packed: Path) -> None:
    copy = ModelBundle.load(packed).path
    (copy / "tokenizer.json").write_text("[]")
    loaded = ModelBundle.load(packed)
    assert (loaded.path / "tokenizer.json").read_text() == "{}"


def test_damaged_file_is_refused_though_the_cache_has_a_good_copy(packed: Path) -> None:
    ModelBundle.load(packed)
    content = packed.read_bytes()
    packed.write_bytes(content.replace(b"sentence_", b"Sentence_", 1))
    assert packed.read_bytes() != content
    assert "Bad CRC-32" in refused(packed)


def test_cache_that_cannot_be_written(packed: Path, cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert "cannot be created" in refused(packed)


def test_many_at_once(packed: Path, cache: Path) -> None:
    """Threads stand for processes: what they compete for is a folder's name on the disk."""
    start = Barrier(16)

    def load(_: int) -> Path:
        start.wait()
        return ModelBundle.load(packed).path

    with ThreadPoolExecutor(16) as pool:
        (path,) = set(pool.map(load, range(16)))
    assert list(cache.iterdir()) == [path]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("victim")
    return ModelBundle.load(make_tiny_bundle(folder / "bundle")).pack(folder / "tiny.zip")


@settings(deadline=None, max_examples=500)
@given(st.data())
def test_changed_byte_is_found_or_changes_nothing(victim: Path, data: st.DataObject) -> None:
    """What a ZIP says of dates and rights is not read; everything else is."""
    good = victim.read_bytes()
    with open_packed(victim) as archive:
        expected = archive.manifest_bytes
    changed = bytearray(good)
    changed[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        victim.write_bytes(changed)
        with open_packed(victim) as archive:
            archive.check()
            assert archive.manifest_bytes == expected
    except BundleError:
        return
    finally:
        victim.write_bytes(good)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_truncated_file_is_refused(victim: Path, data: st.DataObject) -> None:
    good = victim.read_bytes()
    victim.write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    try:
        refused(victim)
    finally:
        victim.write_bytes(good)


def rebuilt(packed: Path, **options: object) -> zipfile.ZipFile:
    """Write the members of a packed bundle into a new ZIP, and leave it open for more."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    new = zipfile.ZipFile(packed, "w", **options)  # type: ignore[call-overload]
    for name, content in members.items():
        new.writestr(name, content)
    return new  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "sub/model.onnx", "sub/", "weights.pkl", "model.onnx\0.txt", "C:\\x"]
)
def test_names_outside_the_format(packed: Path, tmp_path: Path, name: str) -> None:
    with rebuilt(packed) as archive:
        archive.writestr(name.replace("\0", "~"), b"x")
    packed.write_bytes(packed.read_bytes().replace(b"onnx~", b"onnx\0"))
    before = sorted(tmp_path.rglob("*"))
    assert "is not a file of a bundle" in refused(packed)
    assert sorted(tmp_path.rglob("*")) == before


def add_link(archive: zipfile.ZipFile) -> None:
    link = zipfile.ZipInfo("LICENSE")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(link, "/etc/passwd")


def add_twice(archive: zipfile.ZipFile) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("tokenizer.json", "[]")


def add_bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("LICENSE", bytes(900_000), compress_type=zipfile.ZIP_DEFLATED)


def add_large(archive: zipfile.ZipFile) -> None:
    archive.writestr("LICENSE", bytes(files.MAX_BYTES["LICENSE"] + 1))


def add_unnamed(archive: zipfile.ZipFile) -> None:
    archive.writestr("LICENSE", b"x")


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (add_link, "is a link"),
        (add_twice, "holds a file twice"),
        (add_bomb, "is compressed"),
        (add_large, "at most 1,000,000 are allowed"),
        (add_unnamed, "which its manifest does not name"),
    ],
)
def test_members_that_do_not_belong(
    packed: Path, add: Callable[[zipfile.ZipFile], None], message: str
) -> None:
    with rebuilt(packed) as archive:
        add(archive)
    assert message in refused(packed)


def test_overlapping_members(packed: Path) -> None:
    """Two entries that share their bytes: a bomb without compression."""
    with rebuilt(packed) as archive:
        archive.writestr("LICENSE", b"x" * 1000)
        archive.writestr("README.md", b"x")
        offset = archive.getinfo("LICENSE").header_offset
    content = packed.read_bytes()
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"README.md"))
    stated = bytearray(content)
    stated[entry + 16 : entry + 28] = struct.pack("<3L", 0, 100_000, 100_000)
    stated[entry + 42 : entry + 46] = struct.pack("<L", offset)
    packed.write_bytes(stated)
    assert "members overlap" in refused(packed)


def test_member_that_is_missing(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "tokenizer.json"}
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "holds no tokenizer.json, which its manifest names" in refused(packed)


def test_files_that_are_no_packed_bundle(tmp_path: Path, folder: Path) -> None:
    assert "is not a packed bundle" in refused(folder / "model.onnx")
    (tmp_path / "empty").touch()
    assert "is not a packed bundle" in refused(tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "nothing.zip", "w"):
        pass
    assert "holds no manifest.json" in refused(tmp_path / "nothing.zip")
    assert not is_packed(tmp_path / "nothing.zip")


def test_names_in_the_manifest_of_a_packed_bundle(folder: Path, tmp_path: Path) -> None:
    stated = ModelBundle.load(folder).manifest.model_dump(mode="json")["files"]
    write_manifest(folder, files={**stated, "../evil": {"sha256": "0" * 64, "bytes": 1}})
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert "names '../evil'" in refused(tmp_path / "evil.zip")


def test_a_table_of_contents_without_end_is_not_read(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rebuilt(packed) as archive:
        for number in range(200):
            archive.writestr(f"{number:060}", b"")
    monkeypatch.setattr(zipfile.ZipFile, "infolist", None)
    assert "a table of contents of" in refused(packed)


def test_a_table_of_contents_that_is_told_of_elsewhere_is_not_read(packed: Path) -> None:
    content = packed.read_bytes()
    packed.write_bytes(content[:-22] + b"PK\6\7" + bytes(16) + content[-22:])
    assert "its end is not as packed" in refused(packed)
    packed.write_bytes(content[:-2] + b"\2\0ab")
    assert "its end is not as packed" in refused(packed)


def test_a_file_larger_than_any_bundle(packed: Path) -> None:
    os.truncate(packed, sum(files.MAX_BYTES.values()) + 1_000_001)
    assert "it is not a packed bundle" in refused(packed)
