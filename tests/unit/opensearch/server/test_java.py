"""Finding a Java among fake ones: folders with a `java` that only prints its version."""

from pathlib import Path

import pytest

from cl_haystack.errors import LocalServerError
from cl_haystack.opensearch.server import java
from cl_haystack.opensearch.server.java import Java, find_compiler, find_java, inspect, major_of


def fake_java(
    home: Path, version: str, *, release: bool = True, compiler: bool = False, modules: str = ""
) -> Path:
    command = home / "bin" / "java"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n", encoding="utf-8")
    command.chmod(0o755)
    if compiler:
        (home / "bin" / "javac").write_text("#!/bin/sh\n", encoding="utf-8")
    if release:
        text = f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n'
        (home / "release").write_text(text, encoding="utf-8")
    return home


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setattr(java, "USUAL_FOLDERS", (str(tmp_path / "usual" / "*"),))
    monkeypatch.setattr(java, "packaged_home", lambda: None)
    return tmp_path


def test_java_home_goes_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(machine / "path", "25")
    chosen = fake_java(machine / "chosen", "21.0.4")
    monkeypatch.setenv("JAVA_HOME", str(chosen))
    assert find_java(21) == Java(home=chosen, major=21)


def test_a_default_java_17_is_passed_over(machine: Path) -> None:
    fake_java(machine / "path", "17.0.15")
    newer = fake_java(machine / "usual" / "jdk-21", "21.0.1")
    assert find_java(21).home == newer
    assert find_java(17).major == 17


def test_of_the_usual_folders_the_newest_is_taken(machine: Path) -> None:
    fake_java(machine / "usual" / "jdk-9", "9.0.4")
    fake_java(machine / "usual" / "jdk-21", "21.0.1")
    newest = fake_java(machine / "usual" / "jdk-25", "25")
    assert find_java(9).home == newest


def test_the_wheel_is_the_last_resort(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = fake_java(machine / "wheel", "25.0.2")
    monkeypatch.setattr(java, "packaged_home", lambda: wheel)
    assert find_java(21).home == wheel
    installed = fake_java(machine / "usual" / "jdk-21", "21.0.1")
    assert find_java(21).home == installed


def test_no_java_at_all_says_how_to_get_one(machine: Path) -> None:
    with pytest.raises(
        LocalServerError, match=r"version 21 or newer.*found: none.*pip install 'cl-haystack\[local\]'"
    ):
        find_java(21)


def test_only_old_ones_are_listed(machine: Path) -> None:
    old = fake_java(machine / "path", "17.0.15")
    with pytest.raises(LocalServerError, match=f"found: 17 at {old}"):
        find_java(21)


def test_a_java_that_does_not_run_is_passed_over(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = fake_java(machine / "broken", "25", release=False)
    (broken / "bin" / "java").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    monkeypatch.setenv("JAVA_HOME", str(broken))
    good = fake_java(machine / "path", "21")
    assert find_java(21).home == good


def test_without_a_release_file_the_command_is_asked(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jdk", "22.0.1", release=False)
    assert inspect(home) == Java(home=home, major=22)


def test_a_given_home_is_the_only_one_looked_at(machine: Path) -> None:
    fake_java(machine / "path", "25")
    with pytest.raises(LocalServerError, match="found: none"):
        find_java(21, home=machine / "nowhere")


def test_a_runtime_without_compiler_compiles_nothing(machine: Path) -> None:
    fake_java(machine / "path", "25")
    assert find_compiler(21) is None
    jdk = fake_java(machine / "usual" / "jdk", "21", compiler=True)
    found = find_compiler(21)
    assert found is not None
    assert found.home == jdk


def test_the_vector_module_is_used_only_where_it_is(tmp_path: Path) -> None:
    trimmed = inspect(fake_java(tmp_path / "a", "25", modules="java.base java.se"))
    full = inspect(fake_java(tmp_path / "b", "25", modules="java.base jdk.incubator.vector"))
    assert trimmed is not None
    assert full is not None
    assert (trimmed.has_vector_module, full.has_vector_module) == (False, True)


@pytest.mark.parametrize(
    ("version", "major"), [("17.0.15", 17), ("1.8.0_392", 8), ("25-ea", 25), ("21", 21), ("none", None)]
)
def test_major_versions(version: str, major: int | None) -> None:
    assert major_of(version) == major
