"""Write the lock files of the local OpenSearch server: every jar with its SHA-256 and size.

Usage: python scripts/lock_opensearch.py [VERSION ...]        (needs `mvn` on PATH and a Maven repository)

Maven itself resolves the closure of the few coordinates below, since other clients pick other versions of
transitive dependencies. The plugin zips are opened too: their jars are locked one by one, without those that
the closure already holds (the class path must not hold a library twice).
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK_FOLDER = Path(__file__).resolve().parent.parent / "cl_haystack" / "opensearch" / "server"

# Native HTTP/3 libraries for five platforms, 12 MB: the server speaks plain HTTP on loopback.
UNUSED_NATIVES = "netty-codec-native-quic"

MODULES = (
    "transport-netty4-client",
    "reindex-client",
    "mapper-extras-client",
    "parent-join-client",
    "lang-painless",
    "opensearch-scripting-painless-spi",
    "analysis-common",
)
PLUGIN_ZIPS = ("opensearch-knn", "neural-search")


@dataclass(frozen=True)
class Recipe:
    """What a version needs beyond its own number.

    :param java_minimum: oldest Java that the jars run on.
    :param plugins_as: what the constructor of ``Node`` takes: ``info`` objects or ``class`` objects.
    :param module_suffix: how the classes of the bundled modules end.
    :param analysis: our subclass of the analysis plugin, in the launcher.
    :param extra_modules: modules that this version needs and the other does not have.
    :param libraries: libraries that the distribution adds to the closure of its artifacts.
    """

    java_minimum: int
    plugins_as: str
    module_suffix: str
    analysis: str
    extra_modules: tuple[str, ...]
    libraries: tuple[str, ...]


RECIPES = {
    "3.6.0": Recipe(
        java_minimum=21,
        plugins_as="info",
        module_suffix="ModulePlugin",
        analysis="clhaystack.AnalysisModulePlugin",
        extra_modules=("transport-grpc-spi",),
        libraries=(
            "org.apache.logging.log4j:log4j-core:2.25.4",
            "net.java.dev.jna:jna:5.16.0",
            "com.google.guava:guava:33.4.8-jre",
        ),
    ),
    "2.19.6": Recipe(
        java_minimum=17,
        plugins_as="class",
        module_suffix="Plugin",
        analysis="clhaystack.AnalysisPlugin",
        extra_modules=(),
        libraries=(
            "org.apache.logging.log4j:log4j-core:2.25.4",
            "net.java.dev.jna:jna:5.13.0",
            "com.google.guava:guava:33.4.8-jre",
        ),
    ),
}


@dataclass(frozen=True)
class Resolved:
    """One file of Maven's answer."""

    coordinate: str
    path: Path


def dependency(group: str, artifact: str, version: str, packaging: str = "jar") -> str:
    # The pom of a plugin zip lists what the plugin was built with, not what is missing from the zip.
    exclusions = (
        "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
        if packaging == "zip"
        else ""
    )
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version><type>{packaging}</type>{exclusions}</dependency>"
    )


def pom(version: str, recipe: Recipe) -> str:
    dependencies = [dependency("org.opensearch", "opensearch", version)]
    dependencies += [
        dependency("org.opensearch.plugin", module, version) for module in MODULES + recipe.extra_modules
    ]
    dependencies += [dependency("org.opensearch.plugin", name, f"{version}.0", "zip") for name in PLUGIN_ZIPS]
    dependencies += [dependency(*library.split(":")) for library in recipe.libraries]
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>cl-haystack</groupId><artifactId>local-server</artifactId><version>1</version>"
        f"<dependencies>{''.join(dependencies)}</dependencies></project>\n"
    )


def resolve(version: str, recipe: Recipe, folder: Path) -> list[Resolved]:
    """Ask Maven for the run-time closure, with the path of each file."""
    (folder / "pom.xml").write_text(pom(version, recipe), encoding="utf-8")
    answer = folder / "closure.txt"
    maven = shutil.which("mvn")
    if maven is None:
        sys.exit("mvn is not on PATH; it is the reference for the closure: install Apache Maven")
    subprocess.run(  # noqa: S603 - our own arguments
        [
            maven, "--quiet", "--batch-mode", "dependency:list", "-DincludeScope=runtime",
            "-DoutputAbsoluteArtifactFilename=true", f"-DoutputFile={answer}",
            f"-Dmaven.repo.local={folder / 'repository'}",
        ],
        cwd=folder,
        check=True,
    )  # fmt: skip
    lines = (line.strip() for line in answer.read_text(encoding="utf-8").splitlines())
    found = [parse_line(line) for line in lines if line.count(":") >= 5]
    return sorted(found, key=lambda resolved: resolved.coordinate)


def parse_line(line: str) -> Resolved:
    """Read ``group:artifact:type[:classifier]:version:scope:/path/of/the/file``."""
    coordinate, path = re.split(r":(?:compile|runtime):", line, maxsplit=1)
    return Resolved(coordinate=coordinate, path=Path(path.split(" -- ")[0].strip()))


def library_name(file_name: str) -> str:
    """Return the name of a jar without its version: ``httpcore5-h2-5.4.jar`` is ``httpcore5-h2``."""
    return re.sub(r"-\d[^/]*\.jar$", "", file_name)


def digest(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def locked_jars_of_zip(path: Path, present: set[str]) -> list[dict[str, Any]]:
    """Return the jars of a plugin zip that the class path does not hold yet, and count them as present."""
    jars = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".jar")):
            if library_name(name) in present:
                print(f"  {path.name}: {name} is on the class path already, dropped", file=sys.stderr)
                continue
            present.add(library_name(name))
            jars.append({"name": name, **digest(archive.read(name))})
    return jars


def plugins(recipe: Recipe) -> list[dict[str, Any]]:
    painless = f"org.opensearch.painless.Painless{recipe.module_suffix}"
    knn = "org.opensearch.knn.plugin.KNNPlugin"
    simple = (
        f"org.opensearch.transport.Netty4{recipe.module_suffix}",
        painless,
        recipe.analysis,
        f"org.opensearch.index.reindex.Reindex{recipe.module_suffix}",
        f"org.opensearch.index.mapper.MapperExtras{recipe.module_suffix}",
        f"org.opensearch.join.ParentJoin{recipe.module_suffix}",
    )
    return [{"class": name, "extends": []} for name in simple] + [
        {"class": knn, "extends": [painless]},
        {"class": "org.opensearch.neuralsearch.plugin.NeuralSearch", "extends": [knn]},
    ]


def lock(version: str) -> dict[str, Any]:
    recipe = RECIPES[version]
    with tempfile.TemporaryDirectory() as folder:
        closure = [
            resolved
            for resolved in resolve(version, recipe, Path(folder))
            if not (UNUSED_NATIVES in resolved.coordinate and resolved.coordinate.count(":") == 4)
        ]
        present = {library_name(resolved.path.name) for resolved in closure}
        artifacts = []
        for resolved in closure:
            entry: dict[str, Any] = {"coordinate": resolved.coordinate, **digest(resolved.path.read_bytes())}
            if resolved.path.suffix == ".zip":
                entry["jars"] = locked_jars_of_zip(resolved.path, present)
            artifacts.append(entry)
    return {
        "format": 1,
        "version": version,
        "java_minimum": recipe.java_minimum,
        "plugins_as": recipe.plugins_as,
        "plugins": plugins(recipe),
        "artifacts": artifacts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="*", default=list(RECIPES), help="default: all known versions")
    for version in parser.parse_args().versions:
        content = lock(version)
        path = LOCK_FOLDER / f"opensearch-{version}.lock.json"
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        size = sum(artifact["size"] for artifact in content["artifacts"])
        print(f"{path.name}: {len(content['artifacts'])} files, {size / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
