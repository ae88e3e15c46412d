"""How an encoder is opened: plain values, so that it can be pickled and opened again elsewhere."""

from dataclasses import dataclass
from typing import Literal

from cl_haystack.encoder.cpu import logical_processors, usable_cores
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
    :param affinity: numbers of the logical processors that onnxruntime's threads are tied to, one a thread;
        None leaves that to the system, which knows what else runs. The threads that call, of which each run
        takes one, are not tied: they are the caller's.
    :param spinning: let threads wait actively between operators. Off: where the cores are shared with other
        work, waiting threads take them away from those they wait for (measured on two cores under load:
        2 to 4 times slower). Worth trying for single queries on a machine of one's own.
    :param memory_arena: let onnxruntime keep the memory of a run for the next one.
    :param engine: ``onnxruntime``; ``openvino``, which needs the extra of that name; ``auto`` takes OpenVINO
        in bf16 where it is installed, the bundle is fp32 or int8-block and the processor is faster in
        bfloat16 (AMX, or AMD's AVX512-BF16).
    :param inference_precision: number format in which OpenVINO multiplies, ``f32`` or ``bf16``; None is f32,
        with ``auto`` bf16. onnxruntime multiplies in the bundle's own.
    :param truncate_dim: keep only the first so many dimensions, one of the manifest's
        ``matryoshka_dimensions``; None keeps all.
    :param query_cache_size: most queries whose vectors are kept; 0 keeps none. 1,024 vectors of 384
        dimensions are 1.6 MB, and the queries of people repeat.
    :param micro_batch_window_s: how long a single query waits for those of other threads or tasks, to be
        encoded with them. 0 lets ``encode_query_async`` gather what arrives while others are encoded, and
        threads encode on their own; more pays where queries come by the dozen at any moment.
    """

    device: Device = "cpu"
    threads: int | None = None
    affinity: tuple[int, ...] | None = None
    spinning: bool = False
    memory_arena: bool = True
    engine: EngineName = "onnxruntime"
    inference_precision: InferencePrecision | None = None
    truncate_dim: int | None = None
    query_cache_size: int = 1024
    micro_batch_window_s: float = 0.0

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
        if not 0 <= self.micro_batch_window_s <= 1:
            raise EncodingError(
                f"micro_batch_window_s is {self.micro_batch_window_s}, expected seconds from 0 (none) to 1"
            )
        if self.affinity is not None:
            self._check_affinity(self.affinity)

    def _check_affinity(self, affinity: tuple[int, ...]) -> None:
        usable = logical_processors()
        if not affinity or len(set(affinity)) < len(affinity) or not usable.issuperset(affinity):
            raise EncodingError(
                f"affinity is {affinity}, expected different ones of the processors that this process may "
                f"use: {', '.join(map(str, sorted(usable)))}"
            )
        if self.threads not in (None, len(affinity)):
            raise EncodingError(
                f"affinity names {len(affinity)} processors for {self.threads} threads; leave threads out"
            )
        if self.engine != "onnxruntime" or self.device != "cpu":
            raise EncodingError("affinity is for engine='onnxruntime' with device='cpu'; leave it out")

    @property
    def num_threads(self) -> int:
        """Threads of one run on this machine."""
        return len(self.affinity) if self.affinity else self.threads or usable_cores()
