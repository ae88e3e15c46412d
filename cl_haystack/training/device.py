"""Where a run computes, and in which precision."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Literal

import torch

from cl_haystack.encoder.cpu import bfloat16_is_faster
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

    bf16 where the hardware is faster in it, at the same quality (docs/experiments.md).

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
    return "bf16" if device == "cpu" and bfloat16_is_faster() else "fp32"


def attention_of(device: str, max_length: int | None, precision: Precision) -> str | None:
    """Return the attention that trains quickest: on a CPU in bf16 the plain one, up to 512 tokens.

    There the fused one's way back is slow: forward and back 2.27 against 2.06 s for 16 texts of 256 tokens,
    one core, torch 2.15. In fp32 it is faster both ways: 2.55 against 3.36 s (another processor).

    :param device: ``cpu``, ``cuda`` or ``mps``.
    :param max_length: length limit of the model in tokens; None where it has none.
    :param precision: what products are computed in.
    :returns: by transformers' name; None for the fused one, where the architecture has it (MPNet has none).
    """
    short = (max_length or _PLAIN_ATTENTION_TOKENS) <= _PLAIN_ATTENTION_TOKENS
    return "eager" if device == "cpu" and precision == "bf16" and short else None


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
