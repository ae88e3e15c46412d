"""OpenVINO as a second engine for the same ``model.onnx``: where bfloat16 is the faster format, it is faster.

Measured on two shared cores with AVX512-BF16, all-MiniLM-L6-v2, processor time of one text against
onnxruntime fp32: bf16 takes 0.6 of it at 250 tokens, 0.8 at 32, 0.9 at 16, at cosine 0.9999; f32 takes 0.9 to
1.2. So it pays for documents in bf16, and not otherwise; nor on Intel's processors without AMX, where bf16
takes 1.5. On processors with AMX it takes 0.35 of the time for bundles in int8-block, whose activations it
quantizes in groups of a row, so that rows stay independent.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np

from cl_haystack.encoder.cpu import bfloat16_is_faster
from cl_haystack.encoder.engine import Inputs
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.settings import EncoderSettings
from cl_haystack.errors import BundleError, EncodingError, MissingExtraError


def is_faster(precision: str) -> bool:
    """Tell whether OpenVINO, where installed, is the faster engine for a bundle on this processor.

    :param precision: the bundle's; the operators of int8 it runs slowly.
    :returns: whether to take it for ``engine="auto"``.
    """
    known = precision in ("fp32", "int8-block")
    return known and find_spec("openvino") is not None and bfloat16_is_faster()


class OpenVinoEngine:
    """Runs a graph with OpenVINO on the CPU.

    :param model_file: the ONNX graph.
    :param settings: the threads are used here.
    :param precision: ``f32`` or ``bf16``, the number format of products.
    :raises MissingExtraError: OpenVINO is not installed.
    :raises EncodingError: another device is asked for.
    :raises BundleError: OpenVINO cannot load the graph.
    """

    def __init__(self, model_file: Path, settings: EncoderSettings, precision: str) -> None:
        openvino = _import_openvino()
        if settings.device != "cpu":
            raise EncodingError(
                f"device is {settings.device!r}, but engine 'openvino' runs on the CPU; "
                "use engine='onnxruntime', or device='cpu'"
            )
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": settings.num_threads,
            "PERFORMANCE_HINT": "LATENCY",  # all threads work at one text
        }
        try:
            self._model = openvino.Core().compile_model(str(model_file), "CPU", options)
        except Exception as error:  # OpenVINO raises RuntimeError for whatever it cannot read
            raise BundleError(model_file, f"OpenVINO cannot load it: {error}") from error
        self.input_names = [entry.get_any_name() for entry in self._model.inputs]
        self.output_names = [entry.get_any_name() for entry in self._model.outputs]
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def run(self, inputs: Inputs, output: str) -> Vectors:
        """Compute one output, ``(batch, dim)``."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._model.create_infer_request()  # one serves one run at a time
        vectors = np.array(
            request.infer(dict(inputs))[output], dtype=np.float32
        )  # its own memory is used again
        self._idle.put(request)
        return vectors


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which sends an event on import, without having asked.

    It does so from a thread that forks the process. OpenBLAS ends its threads when a process forks, so numpy
    products that run at that moment wait for them for ever.
    """
    telemetry = "openvino_telemetry"
    silenced = telemetry not in sys.modules
    if silenced:
        sys.modules[telemetry] = None  # type: ignore[assignment]  # imports of it fail; OpenVINO has a stub
    try:
        return import_module("openvino")
    except ImportError as missing:
        raise MissingExtraError("openvino", "openvino") from missing
    finally:
        if silenced:
            del sys.modules[telemetry]
