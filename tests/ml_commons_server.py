"""A local OpenSearch with the ml-commons plugin: half a gigabyte of jars, fetched once into the user's cache.

ml-commons runs ONNX models through the Deep Java Library, which downloads PyTorch's native libraries at the
first deployment, for the arithmetic around the model. Here they come from Maven Central, like all else. The
version 0.31.1 of the binding that the plugin names is not there; that of 0.32.0 for the same PyTorch fits.
"""

import hashlib
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cl_haystack.errors import DownloadError
from cl_haystack.opensearch.server import LocalOpenSearch, local
from cl_haystack.opensearch.server.download import cache_folder
from cl_haystack.opensearch.server.fetch import maven_context
from cl_haystack.opensearch.server.lock import Plugin

# group, artifact, packaging, version, classifier, SHA-256
_PLUGIN_ZIPS = (
    (
        "org.opensearch.plugin", "opensearch-job-scheduler", "zip", "3.6.0.0", "",
        "f81d0aa9fc850b18f803292bd7ae68bd33561f6c1d12db0f68529d40eddcee24",
    ),
    (
        "org.opensearch.plugin", "opensearch-ml-plugin", "zip", "3.6.0.0", "",
        "c051d436fe1936da1477bb999db829eb2bc92b12989e376c300d0a874fb90f9d",
    ),
)  # fmt: skip
_PYTORCH = (
    "ai.djl.pytorch", "pytorch-native-cpu", "jar", "2.5.1", "linux-x86_64",
    "9c4f35fb64cb3fba34340b432c648e1bea044adeee554b473d5882499b16f0a4",
)  # fmt: skip
_BINDING = (
    "ai.djl.pytorch", "pytorch-jni", "jar", "2.5.1-0.32.0", "",
    "342bde24382eef06e93a2461fd8f293e5c2c6c72caca7d66019d0a9447d96265",
)  # fmt: skip
_BINDING_LIBRARY = "jnilib/linux-x86_64/cpu/libdjl_torch.so"
_SCHEDULER = "org.opensearch.jobscheduler.JobSchedulerPlugin"
_PLUGIN = "org.opensearch.ml.plugin.MachineLearningPlugin"


@contextmanager
def ml_commons_server(jars: list[Path], patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a server with the plugin; yields its address."""
    make_runtime = local.make_runtime

    def with_ml_commons(*given: Any, **options: Any) -> Any:
        runtime = make_runtime(*given, **options)
        known = {_artifact(jar) for jar in runtime.class_path}
        extra = [jar for jar in jars if jar.is_dir() or _artifact(jar) not in known]
        plugins = [
            Plugin.model_validate({"class": name, "extends": extends})
            for name, extends in ((_SCHEDULER, ()), (_PLUGIN, (_SCHEDULER,)))
        ]
        lock = runtime.lock.model_copy(update={"plugins": (*runtime.lock.plugins, *plugins)})
        return replace(runtime, lock=lock, class_path=[*runtime.class_path, *extra])

    patch.setattr(local, "make_runtime", with_ml_commons)
    with LocalOpenSearch(memory="1g") as server:
        yield server.url


def _artifact(jar: Path) -> str:
    return re.sub(r"-v?\d[\w.-]*\.jar$", "", jar.name)


def ml_commons_jars() -> list[Path]:
    """Return what the plugin needs on the class path; raises DownloadError."""
    folder = cache_folder("3.6.0").with_name("ml-commons-3.6.0")
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for artifact in _PLUGIN_ZIPS:
            _fetch(artifact, lambda file: zipfile.ZipFile(file).extractall(folder))
        _fetch(_PYTORCH, lambda file: file.replace(folder / file.name))
        _fetch(_BINDING, lambda file: _unpack_binding(file, folder / "binding"))
        (folder / "complete").touch()
    return [*sorted(folder.glob("*.jar")), folder / "binding"]


def _unpack_binding(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as jar:
        jar.extract(_BINDING_LIBRARY, folder)
    (folder / "jnilib" / "pytorch.properties").write_text("jni_version=2.5.1-0.31.1")


def _fetch(artifact: tuple[str, ...], use: Callable[[Path], object]) -> None:
    group, name, packaging, version, classifier, sha256 = artifact

    @contextmanager
    def uncounted(*_: object) -> Iterator[Callable[[int], None]]:
        yield lambda _: None

    with tempfile.TemporaryDirectory() as scratch:
        source = maven_context(Path(scratch), uncounted).project(group, name).at_version(version)
        try:
            file = source.artifact(packaging=packaging, classifier=classifier).resolve()
        except (OSError, RuntimeError) as error:
            raise DownloadError(f"{group}:{name}:{version} cannot be downloaded ({error})") from error
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        assert found == sha256, f"{name} {version} has SHA-256 {found}"
        use(file)
