import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server.lock import VERSIONS, Jar, ServerLock, load_lock


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lock_file_names_every_file_once_with_its_hash(version: str) -> None:
    lock = load_lock(version)
    names = [jar.name for jar in lock.class_path]
    assert len(names) > 80
    assert len(names) == len(set(names)), "two jars would overwrite each other in the cache"
    assert {artifact.coordinate.split(":")[1] for artifact in lock.artifacts} > {
        "opensearch",
        "opensearch-knn",
    }
    assert lock.version == version


@pytest.mark.parametrize("version", VERSIONS)
def test_no_library_is_on_the_class_path_twice(version: str) -> None:
    libraries = [jar.name.rpartition("-")[0] for jar in load_lock(version).class_path]
    twice = {name for name in libraries if libraries.count(name) > 1}
    assert not twice


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plugin_extends_only_plugins_that_are_loaded_before_it(version: str) -> None:
    known: set[str] = set()
    for plugin in load_lock(version).plugins:
        assert known.issuperset(plugin.extends)
        known.add(plugin.class_name)
    assert "org.opensearch.knn.plugin.KNNPlugin" in known


def test_an_unknown_version_names_the_known_ones() -> None:
    with pytest.raises(LocalServerError, match=r"1\.3\.0 .*3\.6\.0 and 2\.19\.6"):
        load_lock("1.3.0")


@pytest.mark.parametrize("name", ["../evil.jar", "a/b.jar", ".hidden.jar", "no-jar.txt"])
def test_a_jar_name_cannot_leave_the_cache(name: str) -> None:
    with pytest.raises(ValidationError):
        Jar(name=name, sha256="0" * 64, size=1)


def test_a_field_that_this_version_does_not_know_is_refused() -> None:
    content = json.loads(
        load_lock("3.6.0").model_dump_json(by_alias=True),
    )
    assert ServerLock.model_validate(content) == load_lock("3.6.0")
    with pytest.raises(ValidationError):
        ServerLock.model_validate({**content, "mirror": "elsewhere"})


def test_a_jar_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jar"
    # SHA-256 of "abc", FIPS 180-2 appendix B.1
    jar = Jar(name="a.jar", sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", size=3)
    assert not jar.is_at(path)
    path.write_bytes(b"abc")
    assert jar.is_at(path)
    path.write_bytes(b"abd")
    assert not jar.is_at(path)
