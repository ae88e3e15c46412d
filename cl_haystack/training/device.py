"""Where a run computes, and in which precision."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Literal

import torch

from cl_haystack.errors import ConfigurationError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_DEVICE_OF_ACCELERATE = "ACCELERATE_TORCH_DEVICE"
_PLAIN_ATTENTION_TOKENS = 512


def check_device(device: str) -> None:
    """Refuse a device that is not there, before any work.

    :param device: ``cpu``, ``cuda`` or ``mps``.
    :raises ConfigurationError: torch has no such device here.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device):
        known = ", ".join(name for name, there in available.items() if there)
        raise ConfigurationError(f"device is {device!r}; torch can use here: {known}")


def resolve_precision(precision: Precision, device: str) -> Precision:
    """Return the precision that ``auto`` means on a device.

    bf16 where the hardware computes in it: on a CPU with AVX512-BF16 it took 0.77 of the time at the same
    quality (docs/experiments.md).

    :param precision: as configured.
    :param device: ``cpu``, ``cuda`` or ``mps``.
    :returns: ``fp32``, ``bf16`` or ``fp16``.
    :raises ConfigurationError: fp16 on a CPU.
    """
    if precision == "fp16" and device == "cpu":
        raise ConfigurationError("precision is 'fp16', which a CPU cannot train in; use 'bf16' or 'fp32'")
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device == "cpu" and _cpu_computes_in_bf16() else "fp32"


def attention_of(device: str, max_length: int | None) -> str:
    """Return the attention that trains quickest: plain where its matrix fits a CPU's caches.

    The plain one's way back is quicker than the fused one's: forward and back 2.06 against 2.27 s, 16 texts
    of 256 tokens in bf16, one core, torch 2.15.

    :param device: ``cpu``, ``cuda`` or ``mps``.
    :param max_length: length limit of the model in tokens; None where it has none.
    :returns: by transformers' name.
    """
    plain = device == "cpu" and (max_length or _PLAIN_ATTENTION_TOKENS) <= _PLAIN_ATTENTION_TOKENS
    return "eager" if plain else "sdpa"


def autocast(device: str, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which matrix products are computed in that precision.

    :param device: ``cpu``, ``cuda`` or ``mps``.
    :param precision: as configured.
    :returns: the context.
    """
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
    dtype = dtypes.get(resolve_precision(precision, device))
    return contextlib.nullcontext() if dtype is None else torch.autocast(device, dtype=dtype)


@contextlib.contextmanager
def plain_device_name(device: str) -> Iterator[None]:
    """Let accelerate call a CPU ``cpu`` while the block runs.

    Of several processes it says ``cpu:0``, where torch.load cannot put the state that a run resumes from
    (accelerate 1.15, torch 2.15).

    :param device: ``cpu``, ``cuda`` or ``mps``; only for a CPU anything changes.
    """
    before = os.environ.get(_DEVICE_OF_ACCELERATE)
    if device != "cpu" or before is not None:
        yield
        return
    os.environ[_DEVICE_OF_ACCELERATE] = "cpu"
    try:
        yield
    finally:
        del os.environ[_DEVICE_OF_ACCELERATE]


def _cpu_computes_in_bf16() -> bool:
    # Older torch does not tell: fp32 then.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
