"""Compile the Java launcher of the local OpenSearch server into the jar that the package ships.

Usage: python scripts/build_launcher.py [--output launcher.jar]        (needs a JDK of version 21 or newer)

The jar is reproducible: the same sources and the same compiler give the same bytes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from cl_haystack.opensearch.server.download import install
from cl_haystack.opensearch.server.java import Java, find_compiler
from cl_haystack.opensearch.server.lock import load_lock

SERVER = Path(__file__).resolve().parent.parent / "cl_haystack" / "opensearch" / "server"
SOURCES = SERVER / "launcher" / "clhaystack"
SHIPPED = SERVER / "launcher.jar"

COMPILER_MINIMUM = 21  # reads the class files of OpenSearch 3
RELEASE = 17  # runs OpenSearch 2.19 too
FIXED_DATE = (1980, 1, 1, 0, 0, 0)

# Each version has an analysis plugin of another name; the rest compiles against either.
ONLY_FOR = {"AnalysisPlugin.java": "2.19.6"}
VERSION_OF_THE_REST = "3.6.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=SHIPPED)
    output = parser.parse_args().output
    jdk = find_compiler(COMPILER_MINIMUM)
    if jdk is None:
        sys.exit(f"no JDK of version {COMPILER_MINIMUM} or newer with javac found; set JAVA_HOME to one")
    build(jdk, output)
    print(f"{output}: {output.stat().st_size} bytes, compiled by Java {jdk.major}", file=sys.stderr)


def build(jdk: Java, output: Path) -> None:
    """Compile all sources and pack the class files."""
    with tempfile.TemporaryDirectory() as folder:
        classes = Path(folder)
        rest = sorted(path for path in SOURCES.glob("*.java") if path.name not in ONLY_FOR)
        compile_sources(jdk, rest, VERSION_OF_THE_REST, classes)
        for name, version in ONLY_FOR.items():
            compile_sources(jdk, [SOURCES / name], version, classes)
        pack(classes, jdk.major, output)


def compile_sources(jdk: Java, sources: list[Path], version: str, classes: Path) -> None:
    assert jdk.compiler is not None, "find_compiler looks for one"
    class_path = os.pathsep.join(str(path) for path in [classes, *install(load_lock(version))])
    subprocess.run(  # noqa: S603 - our own arguments
        [
            jdk.compiler, "--release", str(RELEASE), "-proc:none", "-Xlint:all,-options,-classfile,-path",
            "-encoding", "UTF-8", "-g:source,lines", "-d", classes, "-cp", class_path, *sources,
        ],
        check=True,
    )  # fmt: skip


def pack(classes: Path, compiler: int, output: Path) -> None:
    """Write a jar whose bytes depend on the class files alone."""
    manifest = f"Manifest-Version: 1.0\r\nBuild-Jdk-Spec: {compiler}\r\n\r\n".encode("ascii")
    members = {"META-INF/MANIFEST.MF": manifest} | {
        path.relative_to(classes).as_posix(): path.read_bytes() for path in sorted(classes.rglob("*.class"))
    }
    with zipfile.ZipFile(output, "w") as jar:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, FIXED_DATE)
            entry.compress_type = zipfile.ZIP_STORED  # deflate differs between versions of zlib
            entry.external_attr = 0o644 << 16
            jar.writestr(entry, content)


if __name__ == "__main__":
    main()
