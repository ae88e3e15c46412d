"""Placing a folder: absent or complete, and never another bundle than the one that was asked for."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from cl_haystack.bundle import ModelBundle
from cl_haystack.bundle.placing import place
from cl_haystack.errors import BundleError
from tests.tiny_bundle import make_tiny_bundle, write_manifest


@pytest.mark.parametrize("manifest", [None, '{"short_name": "app"}'])
def test_a_folder_of_something_else_is_kept(tmp_path: Path, folder: Path, manifest: str | None) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    if manifest is not None:
        (target / "manifest.json").write_text(manifest)
    with pytest.raises(BundleError, match="cannot be written"):
        place(target, lambda draft: shutil.copytree(folder, draft, dirs_exist_ok=True))
    assert (target / "thesis.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".out*"))


def test_the_same_content_may_be_placed_twice(tmp_path: Path, folder: Path) -> None:
    for _ in range(2):
        place(tmp_path / "out", lambda draft: shutil.copytree(folder, draft, dirs_exist_ok=True))
    assert ModelBundle.load(tmp_path / "out").dimension == 2


def test_of_two_bundles_unpacked_to_one_place_one_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_tiny_bundle(tmp_path / "other")
    write_manifest(other, name="other")
    packed = {
        name: ModelBundle.load(path).pack(tmp_path / f"{name}.zip")
        for name, path in {"tiny": folder, "other": other}.items()
    }
    barrier, chmod = Barrier(2), Path.chmod

    def wait(path: Path, mode: int) -> None:  # just before the rename
        chmod(path, mode)
        barrier.wait(timeout=10)

    monkeypatch.setattr(Path, "chmod", wait)

    def unpack(name: str) -> str | None:
        try:
            return ModelBundle.unpack(packed[name], tmp_path / "out").name
        except BundleError:
            return None

    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(packed, pool.map(unpack, packed), strict=True))
    winner = ModelBundle.load(tmp_path / "out").name
    assert found == {name: name if name == winner else None for name in packed}


@pytest.fixture
def unremovable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let nothing remove a folder, as where it belongs to another user."""
    rmtree = shutil.rmtree

    def protect(protected: Path) -> None:
        def remove(path: Path, ignore_errors: bool = False) -> None:
            if Path(path) != protected:
                rmtree(path, ignore_errors=ignore_errors)

        monkeypatch.setattr(shutil, "rmtree", remove)

    return protect


def test_a_damaged_copy_that_cannot_be_removed_is_refused(
    tmp_path: Path, folder: Path, unremovable: Callable[[Path], None]
) -> None:
    packed = ModelBundle.load(folder).pack(tmp_path / "tiny.zip")
    copy = ModelBundle.load(packed).path
    (copy / "tokenizer.json").write_text("[]")
    unremovable(copy)
    with pytest.raises(BundleError, match="SHA-256"):
        ModelBundle.load(packed)
