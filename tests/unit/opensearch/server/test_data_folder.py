from pathlib import Path

import pytest

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server.data_folder import NOTE, DataFolder, DataNote


def test_a_fresh_folder_is_claimed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with folder.claimed("3.6.0", 3):
        pass
    assert folder.note() == DataNote(version="3.6.0", nodes=3)


def test_a_failed_start_leaves_a_fresh_folder_as_it_was(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")

    def fail() -> None:
        with folder.claimed("3.6.0", 1):
            (folder.path / "node-1").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not folder.path.exists()


def test_a_failed_upgrade_leaves_the_note(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.record("2.19.6", 1)
    with pytest.raises(KeyboardInterrupt), folder.claimed("3.6.0", 1):
        raise KeyboardInterrupt
    assert folder.note() == DataNote(version="2.19.6", nodes=1)
    with folder.claimed("3.6.0", 1):
        pass
    assert folder.note() == DataNote(version="3.6.0", nodes=1)


def test_an_older_version_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.record("3.6.0", 1)
    with pytest.raises(LocalServerError, match=r"written by OpenSearch 3\.6\.0, which 2\.19\.6 cannot read"):
        folder.check("2.19.6", 1)


@pytest.mark.parametrize("nodes", [1, 5])
def test_another_number_of_nodes_is_refused(tmp_path: Path, nodes: int) -> None:
    folder = DataFolder(tmp_path)
    folder.record("3.6.0", 3)
    with pytest.raises(LocalServerError, match=f"cluster of 3 node.*not {nodes}.*--nodes 3"):
        folder.check("3.6.0", nodes)


def test_a_folder_of_something_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    folder = DataFolder(tmp_path)
    with pytest.raises(LocalServerError, match="holds other files"):
        folder.check("3.6.0", 1)
    assert folder.remove() is False
    assert (tmp_path / "thesis.txt").exists()


def test_only_what_servers_wrote_is_removed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.record("3.6.0", 2)
    for name in ("node-1", "node-2"):
        (folder.path / name / "nodes").mkdir(parents=True)
    (folder.path / "added-later.txt").write_text("mine", encoding="utf-8")
    assert folder.remove() is True
    assert [path.name for path in folder.path.iterdir()] == ["added-later.txt"]


@pytest.mark.parametrize("content", ["", "{}", '{"format": 1, "version": "x", "nodes": 1}'])
def test_a_damaged_note_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / NOTE).write_text(content, encoding="utf-8")
    with pytest.raises(LocalServerError, match=NOTE):
        DataFolder(tmp_path).note()
