"""The one home of onnxruntime: open a session on the device that was asked for, or say why not."""

import importlib.metadata
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cl_haystack.encoder.cpu import multiplies_int8_exactly
from cl_haystack.encoder.engine import Inputs
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.settings import Device, EncoderSettings
from cl_haystack.errors import BundleError, EncodingError, MissingExtraError

try:
    import onnxruntime
except ImportError as missing:
    raise MissingExtraError("onnxruntime", "cpu") from missing

logger = logging.getLogger(__name__)

_PROVIDERS: Mapping[Device, list[str]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}
# Of onnxruntime 1.32's kernels for the CPU, that for an addition and a layer normalization takes five times
# what both take apart, that for a bias and GELU 1.7 times: an int8 MiniLM takes 0.85 of the time without the
# one, and 0.92 of that without the other.
_SLOW_FUSIONS: Mapping[Device, list[str]] = {"cpu": ["SkipLayerNormFusion", "BiasGeluFusion"], "cuda": []}
_ERRORS_ONLY = 3


class OnnxRuntimeEngine:
    """Runs a graph with onnxruntime.

    :param model_file: the ONNX graph.
    :param settings: device, threads, affinity, spinning and memory arena are used here.
    :param dynamic_int8: the graph quantizes its activations while it runs.
    :raises EncodingError: the device cannot be used, or not for int8 (onnxruntime would fall back silently).
    :raises BundleError: onnxruntime cannot load the graph.
    """

    def __init__(self, model_file: Path, settings: EncoderSettings, *, dynamic_int8: bool = False) -> None:
        if dynamic_int8 and settings.device == "cuda":
            raise EncodingError(
                "device 'cuda' was asked for, but onnxruntime has no CUDA kernels for the products of an "
                "int8 bundle and would run them on the CPU; use a bundle in fp16, or device='cpu'"
            )
        _warn_of_two_runtimes()
        wanted = _PROVIDERS[settings.device]
        available = onnxruntime.get_available_providers()
        if wanted[0] not in available:
            raise EncodingError(
                f"device {settings.device!r} needs {wanted[0]}, but this onnxruntime offers "
                f"{', '.join(available)}; install 'cl-haystack[gpu]' in place of [cpu], or use device='cpu'"
            )
        options = _session_options(settings, dynamic_int8=dynamic_int8)
        try:
            self._session = onnxruntime.InferenceSession(
                str(model_file),
                options,
                providers=wanted,
                disabled_optimizers=_SLOW_FUSIONS[settings.device],
            )
        except Exception as error:  # onnxruntime's exceptions share no other base
            raise BundleError(model_file, f"onnxruntime cannot load it: {error}") from error
        if (found := self._session.get_providers()[0]) != wanted[0]:
            raise EncodingError(
                f"device {settings.device!r} was asked for, but onnxruntime fell back to {found}; "
                "check the CUDA and cuDNN libraries, or use device='cpu'"
            )
        self._device = settings.device
        self.input_names = [entry.name for entry in self._session.get_inputs()]
        self.output_names = [entry.name for entry in self._session.get_outputs()]

    def run(self, inputs: Inputs, output: str) -> Vectors:
        """Compute one output, ``(batch, dim)``."""
        if self._device == "cuda":
            return self.run_bound(inputs, output)
        (vectors,) = self._session.run([output], inputs)
        return np.asarray(vectors, dtype=np.float32)

    def run_bound(self, inputs: Inputs, output: str) -> Vectors:
        """Compute the same with inputs and output bound, as CUDA runs; not yet tried on a GPU."""
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        binding.bind_output(output)
        self._session.run_with_iobinding(binding)
        (vectors,) = binding.copy_outputs_to_cpu()
        return np.asarray(vectors, dtype=np.float32)


def _session_options(settings: EncoderSettings, *, dynamic_int8: bool) -> "onnxruntime.SessionOptions":
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Said even where it is the default: without a number onnxruntime counts the machine's cores, not the
    # container's, and ties its threads to them.
    options.intra_op_num_threads = settings.num_threads
    if settings.affinity and len(settings.affinity) > 1:  # counted from 1; the first thread is the caller's
        tied = ";".join(str(processor + 1) for processor in settings.affinity[1:])
        options.add_session_config_entry("session.intra_op_thread_affinities", tied)
    options.enable_cpu_mem_arena = settings.memory_arena
    # A plan of a run's memory pays where shapes repeat; here each length would have its own (5 MB more, no
    # faster). An arena that grows by what is asked for would save as much and cost fp32 a fifth of its speed.
    options.enable_mem_pattern = False
    if not settings.spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if dynamic_int8 and not multiplies_int8_exactly():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


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
