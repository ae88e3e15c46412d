"""Push and pull through huggingface_hub itself, against a fake hub on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from cl_haystack.bundle import ModelBundle, files
from cl_haystack.errors import BundleError, HubError
from tests.fake_hub import REPOSITORY, FakeHub
from tests.tiny_bundle import write_manifest


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub().running() as hub:
        monkeypatch.setattr("cl_haystack.bundle.hub._client", lambda token: HfApi(hub.url, token=token))
        yield hub


@pytest.fixture
def pushed(hub: FakeHub, folder: Path) -> FakeHub:
    (folder / "notes.txt").write_text("not of the bundle")
    ModelBundle.load(folder).push(REPOSITORY)
    return hub


def test_only_the_files_of_the_bundle_are_pushed(pushed: FakeHub, folder: Path) -> None:
    assert set(pushed.files) == {"manifest.json", "model.onnx", "tokenizer.json"}
    assert pushed.files["model.onnx"] == (folder / "model.onnx").read_bytes()


def test_pull_brings_back_what_was_pushed_and_nothing_else(
    pushed: FakeHub, folder: Path, tmp_path: Path, cache: Path
) -> None:
    pushed.files["pytorch_model.bin"] = b"a pickle"
    pushed.files["custom_code.py"] = b"import os"
    pulled = ModelBundle.pull(REPOSITORY, tmp_path / "out")
    assert pulled.manifest == ModelBundle.load(folder).manifest
    found = {file.name for file in pulled.path.iterdir()}
    assert found == {"manifest.json", "model.onnx", "tokenizer.json"}
    assert not [request for request in pushed.requests if "pytorch_model" in request or ".py" in request]
    assert not cache.exists()


def test_second_pull_fetches_the_manifest_only(pushed: FakeHub, cache: Path) -> None:
    first = ModelBundle.pull(REPOSITORY)
    assert first.path.parent == cache
    pushed.requests.clear()
    assert ModelBundle.pull(REPOSITORY).path == first.path
    assert pushed.requests
    assert not [request for request in pushed.requests if "model.onnx" in request]


def test_commit_of_a_push_is_a_revision_to_pull(hub: FakeHub, folder: Path) -> None:
    commit = ModelBundle.load(folder).push(REPOSITORY)
    assert ModelBundle.pull(REPOSITORY, revision=commit).dimension == 2
    with pytest.raises(HubError, match=REPOSITORY):
        ModelBundle.pull(REPOSITORY, revision="0" * 40)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_damaged_download_is_refused(pushed: FakeHub, tmp_path: Path, name: str) -> None:
    content = bytearray(pushed.files[name])
    content[len(content) // 2] ^= 1
    pushed.files[name] = bytes(content)
    with pytest.raises(BundleError, match=name):
        ModelBundle.pull(REPOSITORY, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_file_of_another_size_is_not_even_fetched(pushed: FakeHub, tmp_path: Path) -> None:
    pushed.files["model.onnx"] += b"\0"
    with pytest.raises(BundleError, match="the manifest says"):
        ModelBundle.pull(REPOSITORY, tmp_path / "out")
    assert not [request for request in pushed.requests if "resolve" in request and "model.onnx" in request]


def test_manifest_without_limit(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["manifest.json"] = bytes(files.MAX_BYTES["manifest.json"] + 1)
    with pytest.raises(BundleError, match="at most"):
        ModelBundle.pull(REPOSITORY, tmp_path / "out")


def test_repository_that_is_no_bundle(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["config.json"] = b"{}"
    with pytest.raises(HubError, match=r"holds no manifest\.json"):
        ModelBundle.pull(REPOSITORY, tmp_path / "out")


@pytest.mark.parametrize("repo_id", ["nobody/nothing", "not a name", "a/b/c"])
def test_repository_that_is_not_there(hub: FakeHub, folder: Path, repo_id: str) -> None:
    with pytest.raises(HubError, match=repo_id):
        ModelBundle.pull(repo_id)


def test_no_network(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cl_haystack.bundle.hub._client", lambda _: HfApi("http://127.0.0.1:9"))
    with pytest.raises(HubError, match="check its name, your network"):
        ModelBundle.pull(REPOSITORY)
    with pytest.raises(HubError, match="check its name, your network"):
        ModelBundle.load(folder).push(REPOSITORY)


def test_damaged_bundle_is_not_pushed(hub: FakeHub, folder: Path) -> None:
    bundle = ModelBundle.load(folder)
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(BundleError, match="SHA-256"):
        bundle.push(REPOSITORY)
    assert not hub.files


def test_a_repository_of_something_else_is_kept(hub: FakeHub, folder: Path) -> None:
    hub.files |= {".gitattributes": b"", "model.onnx": b"another's", "README.md": b"another's"}
    before = dict(hub.files)
    with pytest.raises(HubError, match=r"holds 'README\.md' and no manifest\.json"):
        ModelBundle.load(folder).push(REPOSITORY)
    assert hub.files == before


def test_a_new_repository_and_an_older_bundle_are_pushed_to(hub: FakeHub, folder: Path) -> None:
    hub.files[".gitattributes"] = b""  # the hub makes it
    ModelBundle.load(folder).push(REPOSITORY)
    write_manifest(folder, name="newer")
    ModelBundle.load(folder).push(REPOSITORY)
    assert ModelBundle.pull(REPOSITORY).name == "newer"


def test_existing_folder_is_kept(pushed: FakeHub, folder: Path) -> None:
    with pytest.raises(BundleError, match="exists"):
        ModelBundle.pull(REPOSITORY, folder)
    assert (folder / "notes.txt").exists()
