"""Write calibrated thresholds into a bundle: the one thing that is added to it after export."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cl_haystack.bundle.bundle import ModelBundle
from cl_haystack.bundle.manifest import MANIFEST_FILE, Calibration, Manifest, Threshold
from cl_haystack.bundle.manifest_file import manifest_bytes, parse_manifest, read_manifest
from cl_haystack.errors import BundleError


def write_thresholds(directory: str | Path, thresholds: Mapping[str, Threshold]) -> ModelBundle:
    """Add thresholds to a bundle's manifest; those of the same name are replaced, all else stays.

    The manifest is written beside and renamed, so a reader finds the old one or the new one. No other file
    changes, and neither do ``space_id`` and ``fingerprint``: indices stay bound as they are.

    :param directory: the bundle.
    :param thresholds: by name, such as ``duplicate``.
    :returns: the bundle with its new manifest.
    :raises BundleError: this is no bundle, it is packed, a name is not allowed, or it cannot be written.
    """
    directory = Path(directory)
    check_writable(directory)
    manifest = ModelBundle.load(directory, verify=False).manifest
    kept = manifest.calibration.get("thresholds", {})
    calibration: Calibration = {**manifest.calibration, "thresholds": {**kept, **thresholds}}
    _replace(directory / MANIFEST_FILE, manifest.model_copy(update={"calibration": calibration}))
    return ModelBundle.load(directory, verify=False)


def check_writable(directory: str | Path) -> None:
    """Say before the work what :func:`write_thresholds` would say after it.

    :param directory: the bundle.
    :raises BundleError: this is no bundle, it is packed, or its folder cannot be written to.
    """
    directory = Path(directory)
    if directory.is_file():
        unpack = "cl-haystack bundle unpack FILE BUNDLE"
        raise BundleError(
            directory, f"is packed, and thresholds go into a directory: unpack it with `{unpack}`"
        )
    read_manifest(directory)
    if not os.access(directory, os.W_OK):
        raise BundleError(directory, "cannot be written to; copy the bundle to a place of yours first")


def _replace(file: Path, manifest: Manifest) -> None:
    content = manifest_bytes(manifest)
    parse_manifest(
        content, file
    )  # what would not load is not written: a name or a figure that is not allowed
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as draft:
            beside = Path(draft.name)
            draft.write(content)
        try:
            beside.chmod(file.stat().st_mode)
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(file, f"cannot be written ({error})") from error
