"""The shipped launcher is what its sources say."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cl_haystack.opensearch.server.java import find_compiler
from cl_haystack.opensearch.server.node import LAUNCHER_JAR

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_launcher.py"
RELEASE_17 = 61


def contents(jar: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(jar) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.long
def test_a_build_from_the_sources_gives_the_shipped_launcher(tmp_path: Path) -> None:
    jdk = find_compiler(21)
    if jdk is None:
        pytest.skip("no JDK of version 21 or newer with javac on this machine")
    built = tmp_path / "launcher.jar"
    subprocess.run([sys.executable, SCRIPT, "--output", built], check=True, timeout=120)
    fresh, shipped = contents(built), contents(LAUNCHER_JAR)
    assert fresh.keys() == shipped.keys()
    if f"Build-Jdk-Spec: {jdk.major}\r\n".encode() in shipped["META-INF/MANIFEST.MF"]:
        assert built.read_bytes() == LAUNCHER_JAR.read_bytes()


def test_the_launcher_runs_on_the_oldest_java_of_any_version() -> None:
    classes = {name: content for name, content in contents(LAUNCHER_JAR).items() if name.endswith(".class")}
    assert len(classes) >= 7
    assert {int.from_bytes(content[6:8], "big") for content in classes.values()} == {RELEASE_17}
