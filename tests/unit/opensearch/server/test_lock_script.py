"""The pure parts of the script that locks OpenSearch."""

import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[4] / "scripts" / "lock_opensearch.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock_opensearch", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_lines_of_maven_are_read(script: ModuleType) -> None:
    plain = script.parse_line(
        "org.slf4j:slf4j-api:jar:2.0.17:compile:/m2/slf4j-api-2.0.17.jar -- module org.slf4j"
    )
    assert plain == script.Resolved("org.slf4j:slf4j-api:jar:2.0.17", Path("/m2/slf4j-api-2.0.17.jar"))
    classified = script.parse_line("io.netty:quic:jar:linux-x86_64:4.2:runtime:/m2/quic-4.2-linux-x86_64.jar")
    assert classified.coordinate == "io.netty:quic:jar:linux-x86_64:4.2"


@pytest.mark.parametrize(
    ("file_name", "library"),
    [
        ("httpcore5-h2-5.4.jar", "httpcore5-h2"),
        ("log4j-api-2.25.3.jar", "log4j-api"),
        ("javassist-3.29.2-GA.jar", "javassist"),
        ("commons-collections4-4.5.0.jar", "commons-collections4"),
    ],
)
def test_the_version_is_no_part_of_a_library(script: ModuleType, file_name: str, library: str) -> None:
    assert script.library_name(file_name) == library


def test_a_zip_adds_only_libraries_that_are_not_there(script: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "plugin.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("plugin-1.0.jar", b"abc")
        archive.writestr("slf4j-api-1.7.36.jar", b"older")
        archive.writestr("LICENSE.txt", b"text")
    present = {"slf4j-api"}
    (jar,) = script.locked_jars_of_zip(path, present)
    assert (jar["name"], jar["size"]) == ("plugin-1.0.jar", 3)
    assert present == {"slf4j-api", "plugin"}


def test_every_version_asks_maven_for_the_server_and_both_plugins(script: ModuleType) -> None:
    for version, recipe in script.RECIPES.items():
        text = script.pom(version, recipe)
        assert text.count("<type>zip</type>") == 2
        assert f"<artifactId>opensearch</artifactId><version>{version}</version>" in text
