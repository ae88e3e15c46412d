"""The one home of onnxruntime: open a session on the device that was asked for, or say why not."""

import importlib.metadata
import logging
from pathlib import Path
from typing import Literal

from cl_haystack.errors import BundleError, EncodingError, MissingExtraError

try:
    import onnxruntime
except ImportError as missing:
    raise MissingExtraError("onnxruntime", "cpu") from missing

logger = logging.getLogger(__name__)

Device = Literal["cpu", "cuda"]
_PROVIDERS: dict[Device, list[str]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}
_ERRORS_ONLY = 3


def as_device(name: str) -> Device:
    """Return a device by name.

    :param name: ``cpu`` or ``cuda``.
    :returns: the same name, known to be one of them.
    :raises EncodingError: it is another.
    """
    for device in _PROVIDERS:
        if name == device:
            return device
    raise EncodingError(f"device is {name!r}, expected one of {', '.join(_PROVIDERS)}")


def open_session(model_file: Path, *, device: Device, threads: int | None) -> "onnxruntime.InferenceSession":
    """Open an inference session.

    :param model_file: the ONNX graph.
    :param device: ``cpu`` or ``cuda``.
    :param threads: threads of one run; None lets onnxruntime take one a physical core.
    :returns: the session, on that device and no other.
    :raises EncodingError: the device is unknown or cannot be used (onnxruntime would fall back silently).
    :raises BundleError: onnxruntime cannot load the graph.
    """
    device = as_device(device)
    if threads is not None and threads < 1:
        raise EncodingError(f"threads is {threads}, expected at least 1, or None for one a core")
    _warn_of_two_runtimes()
    wanted = _PROVIDERS[device]
    available = onnxruntime.get_available_providers()
    if wanted[0] not in available:
        raise EncodingError(
            f"device {device!r} needs {wanted[0]}, but this onnxruntime offers {', '.join(available)}; "
            "install 'cl-haystack[gpu]' in place of [cpu], or use device='cpu'"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(str(model_file), options, providers=wanted)
    except Exception as error:  # onnxruntime's exceptions share no other base
        raise BundleError(model_file, f"onnxruntime cannot load it: {error}") from error
    if session.get_providers()[0] != wanted[0]:
        raise EncodingError(
            f"device {device!r} was asked for, but onnxruntime fell back to {session.get_providers()[0]}; "
            "check the CUDA and cuDNN libraries, or use device='cpu'"
        )
    return session


def _warn_of_two_runtimes() -> None:
    installed = []
    for distribution in ("onnxruntime", "onnxruntime-gpu"):
        try:
            importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        installed.append(distribution)
    if len(installed) > 1:
        logger.warning(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "uninstall both, then install the one you need"
        )
