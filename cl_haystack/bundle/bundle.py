"""Open a model bundle and check that it is what it says.

Nothing of a bundle is executed, downloaded or unpickled here; a bundle may come from a stranger.
"""

from dataclasses import dataclass
from pathlib import Path

import pydantic

from cl_haystack.bundle.fingerprint import SHORT_ID_CHARS, file_entry, fingerprint
from cl_haystack.bundle.manifest import (
    FORMAT,
    FORMAT_VERSION,
    KNOWN_FILES,
    MANIFEST_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    Manifest,
    Precision,
    Similarity,
)
from cl_haystack.bundle.onnx_safety import ALLOWED_DOMAINS, MalformedOnnxError, read_onnx_facts
from cl_haystack.errors import BundleError

_MAX_MANIFEST_BYTES = 10_000_000


@dataclass(frozen=True)
class ModelBundle:
    """A directory with all that serving needs: ``manifest.json``, ``model.onnx``, ``tokenizer.json``.

    :param path: the directory.
    :param manifest: its manifest, validated.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | Path, *, verify: bool = True) -> "ModelBundle":
        """Read the manifest and check the files against it.

        :param path: the bundle's directory.
        :param verify: compare every file's SHA-256 and scan the graph; ``False`` compares sizes only, for
            bundles that this process has verified before.
        :returns: the bundle.
        :raises BundleError: the directory is no bundle, or a file is missing, changed or unsafe.
        """
        directory = Path(path)
        manifest = _read_manifest(directory)
        _check_files(directory, manifest, verify=verify)
        _check_identity(directory, manifest)
        if verify:
            _check_graph(directory, manifest)
        return cls(path=directory, manifest=manifest)

    @property
    def model_file(self) -> Path:
        """Path of the ONNX graph."""
        return self.path / MODEL_FILE

    @property
    def tokenizer_file(self) -> Path:
        """Path of the tokenizer."""
        return self.path / TOKENIZER_FILE

    @property
    def name(self) -> str:
        """Name of the model, for people."""
        return self.manifest.name

    @property
    def space_id(self) -> str:
        """Identity of the vector space: equal where vectors may be compared."""
        return self.manifest.space_id

    @property
    def fingerprint(self) -> str:
        """Identity of the bytes of a vector."""
        return self.manifest.fingerprint

    @property
    def short_fingerprint(self) -> str:
        """First eight digits of the fingerprint, as used in index names."""
        return self.manifest.fingerprint[:SHORT_ID_CHARS]

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.manifest.embedding.dimension

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared."""
        return self.manifest.embedding.similarity

    @property
    def precision(self) -> Precision:
        """Number format of the graph's weights."""
        return self.manifest.numerics.precision

    @property
    def label(self) -> str:
        """Name and short identity, for messages."""
        return (
            f"'{self.name}' (space {self.space_id[:SHORT_ID_CHARS]}, {self.dimension} dimensions, "
            f"{self.precision})"
        )


def _read_manifest(directory: Path) -> Manifest:
    file = directory / MANIFEST_FILE
    if not directory.is_dir():
        raise BundleError(
            directory,
            "no such directory; a bundle is made with `cl-haystack export CHECKPOINT BUNDLE`"
            if not directory.exists()
            else "is a file; a bundle is a directory with a manifest.json",
        )
    if not file.is_file():
        hint = (
            "it looks like a checkpoint: export it with `cl-haystack export`"
            if (directory / "config.json").exists()
            else "a bundle is made with `cl-haystack export CHECKPOINT BUNDLE`"
        )
        raise BundleError(directory, f"holds no {MANIFEST_FILE}; {hint}")
    if file.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(file, f"is larger than {_MAX_MANIFEST_BYTES:,} bytes; this is no manifest")
    return _parse_manifest(file)


def _parse_manifest(file: Path) -> Manifest:
    try:
        raw = pydantic.TypeAdapter(dict[str, pydantic.JsonValue]).validate_json(file.read_bytes())
    except pydantic.ValidationError as error:
        raise BundleError(file, "is not a JSON object; the bundle is damaged, export it again") from error
    if raw.get("format") != FORMAT:
        raise BundleError(
            file, f"is not a cl-haystack manifest: format is {raw.get('format')!r}, not {FORMAT!r}"
        )
    if raw.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            file,
            f"has format_version {raw.get('format_version')!r}; this version of cl-haystack reads "
            f"{FORMAT_VERSION}: upgrade cl-haystack or export the checkpoint again",
        )
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BundleError(
            file, f"field {where}: {first['msg']}{more}; the bundle is damaged, export it again"
        ) from error


def _check_files(directory: Path, manifest: Manifest, *, verify: bool) -> None:
    unknown = sorted(set(manifest.files) - KNOWN_FILES)
    if unknown:
        raise BundleError(directory, f"its manifest names {unknown[0]!r}, which is not a file of a bundle")
    for name in (MODEL_FILE, TOKENIZER_FILE):
        if name not in manifest.files:
            raise BundleError(directory, f"its manifest does not name {name}; export the bundle again")
    for name, expected in manifest.files.items():
        file = directory / name
        if file.is_symlink() and not file.resolve().is_relative_to(directory.resolve()):
            raise BundleError(file, "is a link that leads out of the bundle; refused")
        if not file.is_file():
            raise BundleError(file, "is missing from the bundle; copy or export the bundle again")
        if (size := file.stat().st_size) != expected.bytes:
            raise BundleError(
                file,
                f"has {size:,} bytes, the manifest says {expected.bytes:,}; the file is truncated or "
                "was replaced: copy or export the bundle again",
            )
        if verify and (found := file_entry(file).sha256) != expected.sha256:
            raise BundleError(
                file,
                f"has SHA-256 {found[:16]}…, the manifest says {expected.sha256[:16]}…; the file is corrupt "
                "or was replaced: copy or export the bundle again",
            )


def _check_identity(directory: Path, manifest: Manifest) -> None:
    computing = {name: manifest.files[name] for name in (MODEL_FILE, TOKENIZER_FILE)}
    expected = fingerprint(
        manifest.space_id, computing, manifest.numerics.precision, manifest.text.max_length
    )
    if manifest.fingerprint != expected:
        raise BundleError(
            directory / MANIFEST_FILE,
            f"states fingerprint {manifest.fingerprint[:SHORT_ID_CHARS]}…, but its contents give "
            f"{expected[:SHORT_ID_CHARS]}…; the manifest was edited: export the bundle again",
        )


def _check_graph(directory: Path, manifest: Manifest) -> None:
    file = directory / MODEL_FILE
    try:
        facts = read_onnx_facts(file)
    except MalformedOnnxError as error:
        raise BundleError(file, f"is not an ONNX model ({error}); export the bundle again") from error
    if facts.external_data:
        raise BundleError(file, "keeps weights in other files (external data); a bundle's model is one file")
    if custom := sorted(facts.domains - ALLOWED_DOMAINS):
        raise BundleError(
            file, f"uses operators of domain {custom[0]!r}, which would need foreign code; refused"
        )
    if facts.opset != manifest.graph.opset:
        raise BundleError(
            file,
            f"uses opset {facts.opset}, the manifest says {manifest.graph.opset}; export the bundle again",
        )
