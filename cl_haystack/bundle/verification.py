"""Check that a bundle's files are what its manifest says, and that none of them can do harm."""

from pathlib import Path

from cl_haystack.bundle.files import regular_size
from cl_haystack.bundle.fingerprint import SHORT_ID_CHARS, file_entry, fingerprint
from cl_haystack.bundle.manifest import (
    KNOWN_FILES,
    MANIFEST_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    FileEntry,
    Manifest,
)
from cl_haystack.bundle.onnx_safety import ALLOWED_DOMAINS, MalformedOnnxError, read_onnx_facts
from cl_haystack.errors import BundleError, quote


def check_names(path: Path | str, manifest: Manifest) -> None:
    """Check that the manifest names the files of a bundle and no others.

    :param path: the bundle, for messages.
    :param manifest: its manifest.
    :raises BundleError: it names something else, or leaves out the model or the tokenizer.
    """
    unknown = sorted(set(manifest.files) - KNOWN_FILES)
    if unknown:
        raise BundleError(
            path,
            f"its manifest names {quote(unknown[0])}, which is not a file of a bundle; refused: get it from "
            "somebody you trust",
        )
    for name in (MODEL_FILE, TOKENIZER_FILE):
        if name not in manifest.files:
            raise BundleError(path, f"its manifest does not name {name}; export the bundle again")


def check_sizes(directory: Path, manifest: Manifest) -> None:
    """Check that each file is there, safe to open and as long as stated.

    :param directory: the bundle.
    :param manifest: its manifest.
    :raises BundleError: a file is missing, is something else than a file, or has another size.
    """
    for name, expected in manifest.files.items():
        if (size := regular_size(directory, name)) != expected.bytes:
            raise BundleError(
                directory / name,
                f"has {size:,} bytes, the manifest says {expected.bytes:,}; the file is truncated or "
                "was replaced: copy or export the bundle again",
            )


def check_hashes(directory: Path, manifest: Manifest) -> None:
    """Check each file's SHA-256: 1.2 to 2 GB a second. One file is nearly all, so threads would not help.

    :param directory: the bundle.
    :param manifest: its manifest.
    :raises BundleError: a file has another content than stated.
    """
    for name, expected in manifest.files.items():
        check_hash(directory / name, file_entry(directory / name).sha256, expected)


def check_hash(file: Path | str, found: str, expected: FileEntry) -> None:
    """Compare a file's SHA-256 with the manifest's.

    :param file: the file, for the message.
    :param found: its hash, 64 hexadecimal digits.
    :param expected: its entry in the manifest.
    :raises BundleError: they differ.
    """
    if found != expected.sha256:
        raise BundleError(
            file,
            f"has SHA-256 {found[:16]}…, the manifest says {expected.sha256[:16]}…; the file is corrupt "
            "or was replaced: copy or export the bundle again",
        )


def check_identity(path: Path | str, manifest: Manifest) -> None:
    """Check that the fingerprint belongs to the files and settings that the manifest names.

    :param path: the bundle, for messages.
    :param manifest: its manifest.
    :raises BundleError: the fingerprint is another one.
    """
    computing = {name: manifest.files[name] for name in (MODEL_FILE, TOKENIZER_FILE)}
    expected = fingerprint(
        manifest.space_id, computing, manifest.numerics.precision, manifest.text.max_length
    )
    if manifest.fingerprint != expected:
        raise BundleError(
            f"{path}/{MANIFEST_FILE}",
            f"states fingerprint {manifest.fingerprint[:SHORT_ID_CHARS]}…, but its contents give "
            f"{expected[:SHORT_ID_CHARS]}…; the manifest was edited: export the bundle again",
        )


def check_graph(directory: Path, manifest: Manifest) -> None:
    """Check that the graph stands alone and is of the stated versions.

    :param directory: the bundle.
    :param manifest: its manifest.
    :raises BundleError: the file is no ONNX model, points to other files, needs foreign code, or has
        another version than stated.
    """
    file = directory / MODEL_FILE
    try:
        facts = read_onnx_facts(file)
    except MalformedOnnxError as error:
        raise BundleError(file, f"is not an ONNX model ({error}); export the bundle again") from error
    if facts.external_data:
        raise BundleError(
            file,
            "keeps weights in other files (external data); a bundle's model is one file: export it again",
        )
    if custom := sorted(facts.domains - ALLOWED_DOMAINS):
        raise BundleError(
            file, f"uses operators of domain {quote(custom[0])}, which would need foreign code; refused"
        )
    for what, found, expected in (
        ("opset", facts.opset, manifest.graph.opset),
        ("IR version", facts.ir_version, manifest.graph.ir_version),
    ):
        if found != expected:
            raise BundleError(
                file, f"has {what} {found}, the manifest says {expected}; export the bundle again"
            )
