"""The lock files: what each OpenSearch version consists of, down to the hash of every jar.

They are written by ``scripts/lock_opensearch.py``, which asks Maven; nothing is resolved on a user's machine.
"""

import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cl_haystack.errors import LocalServerError

DEFAULT_VERSION = "3.6.0"
VERSIONS = ("3.6.0", "2.19.6")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(gt=0)]
# No folder in a name: it becomes a path of the cache.
JarName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.jar$")]


class Locked(BaseModel):
    """A strict record of a lock file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Jar(Locked):
    """A jar of the class path.

    :param name: its file name in the cache.
    :param sha256: hash of its content.
    :param size: in bytes.
    """

    name: JarName
    sha256: Sha256
    size: Size

    def is_at(self, path: Path) -> bool:
        """Tell whether the file at ``path`` is this jar, whole and unchanged."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


class Artifact(Locked):
    """One file of a Maven repository: a jar, or a plugin zip with jars inside.

    :param coordinate: ``group:artifact:packaging:version``.
    :param sha256: hash of the file as published.
    :param size: in bytes.
    :param jars: for a zip, the jars in it that belong on the class path.
    """

    coordinate: Annotated[str, StringConstraints(pattern=r"^[\w.-]+:[\w.-]+:(jar|zip):[\w.-]+$")]
    sha256: Sha256
    size: Size
    jars: tuple[Jar, ...] = ()

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Group, artifact, packaging and version."""
        group, artifact, packaging, version = self.coordinate.split(":")
        return group, artifact, packaging, version

    @property
    def file_name(self) -> str:
        """How repositories name the file."""
        _, name, packaging, version = self.parts
        return f"{name}-{version}.{packaging}"

    @property
    def class_path(self) -> tuple[Jar, ...]:
        """The jars that this artifact puts on the class path: itself, or those of the zip."""
        if self.parts[2] == "zip":
            return self.jars
        return (Jar(name=self.file_name, sha256=self.sha256, size=self.size),)


class Plugin(Locked):
    """A plugin of the server.

    :param class_name: its Java class.
    :param extends: classes of the plugins it extends.
    """

    class_name: str = Field(alias="class")
    extends: tuple[str, ...]


class ServerLock(Locked):
    """All that an OpenSearch version consists of.

    :param format: version of this file format.
    :param version: version of OpenSearch.
    :param java_minimum: oldest Java that runs it.
    :param plugins_as: what its ``Node`` constructor takes.
    :param plugins: to load, in this order.
    :param artifacts: to fetch.
    """

    format: Literal[1]
    version: str
    java_minimum: int
    plugins_as: Literal["info", "class"]
    plugins: tuple[Plugin, ...]
    artifacts: tuple[Artifact, ...]

    @property
    def class_path(self) -> Iterator[Jar]:
        """Every jar of the class path."""
        for artifact in self.artifacts:
            yield from artifact.class_path


def load_lock(version: str) -> ServerLock:
    """Read the lock file of an OpenSearch version.

    :param version: one of ``VERSIONS``.
    :returns: its content.
    :raises LocalServerError: the version is not one of those.
    """
    if version not in VERSIONS:
        raise LocalServerError(
            f"OpenSearch {version} cannot run locally; the versions that can are {' and '.join(VERSIONS)}"
        )
    file = resources.files("cl_haystack.opensearch.server") / f"opensearch-{version}.lock.json"
    return ServerLock.model_validate_json(file.read_bytes())
