"""How an encoder is opened: plain values, so that it can be pickled and opened again elsewhere."""

from dataclasses import dataclass
from typing import Literal

from cl_haystack.encoder.cpu import usable_cores
from cl_haystack.errors import EncodingError

Device = Literal["cpu", "cuda"]
EngineName = Literal["onnxruntime", "openvino", "auto"]
InferencePrecision = Literal["f32", "bf16"]
_DEVICES: tuple[Device, ...] = ("cpu", "cuda")


def as_device(name: str) -> Device:
    """Return a device by name.

    :param name: ``cpu`` or ``cuda``.
    :returns: the same name, known to be one of them.
    :raises EncodingError: it is another.
    """
    for device in _DEVICES:
        if name == device:
            return device
    raise EncodingError(f"device is {name!r}, expected one of {', '.join(_DEVICES)}")


@dataclass(frozen=True)
class EncoderSettings:
    """Everything about an encoder that is not in the bundle.

    :param device: ``cpu`` or ``cuda``.
    :param threads: threads of one run; None takes one for each physical core that the affinity mask and the
        container's limit leave to this process.
    :param spinning: let threads wait actively between operators. Off: where the cores are shared with other
        work, waiting threads take them away from those they wait for (measured on two cores under load:
        2 to 4 times slower). Worth trying for single queries on a machine of one's own.
    :param memory_arena: let onnxruntime keep the memory of a run for the next one.
    :param engine: ``onnxruntime``; ``openvino``, which needs the extra of that name; ``auto`` takes OpenVINO
        in bf16 where it is installed, the bundle is fp32 or int8-block and the processor has bfloat16.
    :param inference_precision: number format in which OpenVINO multiplies, ``f32`` or ``bf16``; None is f32,
        with ``auto`` bf16. onnxruntime multiplies in the bundle's own.
    :param truncate_dim: keep only the first so many dimensions, one of the manifest's
        ``matryoshka_dimensions``; None keeps all.
    :param query_cache_size: most queries whose vectors are kept; 0 keeps none. 1,024 vectors of 384
        dimensions are 1.6 MB, and the queries of people repeat.
    """

    device: Device = "cpu"
    threads: int | None = None
    spinning: bool = False
    memory_arena: bool = True
    engine: EngineName = "onnxruntime"
    inference_precision: InferencePrecision | None = None
    truncate_dim: int | None = None
    query_cache_size: int = 1024

    def __post_init__(self) -> None:
        as_device(self.device)
        if self.threads is not None and self.threads < 1:
            raise EncodingError(f"threads is {self.threads}, expected at least 1, or None for one a core")
        if self.engine not in ("onnxruntime", "openvino", "auto"):
            raise EncodingError(f"engine is {self.engine!r}, expected onnxruntime, openvino or auto")
        if self.inference_precision not in (None, "f32", "bf16"):
            raise EncodingError(f"inference_precision is {self.inference_precision!r}, expected f32 or bf16")
        if self.inference_precision and self.engine == "onnxruntime":
            raise EncodingError(
                f"inference_precision is {self.inference_precision!r}, but engine 'onnxruntime' multiplies "
                "in the bundle's own precision; use engine='openvino'"
            )
        if self.query_cache_size < 0:
            raise EncodingError(f"query_cache_size is {self.query_cache_size}, expected 0 (none) or more")

    @property
    def num_threads(self) -> int:
        """Threads of one run on this machine."""
        return self.threads or usable_cores()
