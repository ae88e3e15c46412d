"""Devices and precisions that are not there are refused before any work, with what there is."""

import os
from pathlib import Path

import pytest
import torch

from cl_haystack.errors import ConfigurationError
from cl_haystack.training import ContrastiveTrainer, device
from cl_haystack.training.device import (
    Precision,
    attention_of,
    autocast,
    plain_device_name,
    resolve_precision,
)
from tests.unit.training.runs import changed


@pytest.mark.parametrize("name", ["cuda", "tpu", "cuda:1", ""])
def test_a_device_that_is_not_there(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match=f"device is '{name}'; torch can use here: cpu$"):
        ContrastiveTrainer(checkpoint, device=name)


def test_fp16_on_a_cpu_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'fp16', which a CPU cannot train in; use 'bf16' or 'fp32'"):
        ContrastiveTrainer(tmp_path / "nowhere", config=changed(precision="fp16"))


@pytest.mark.parametrize(
    ("on", "cpu_faster", "cuda_bf16", "expected"),
    [
        ("cpu", True, False, "bf16"),
        ("cpu", False, True, "fp32"),
        ("cuda", False, True, "bf16"),
        ("cuda", True, False, "fp16"),
        ("mps", True, True, "fp32"),
    ],
)
def test_auto_takes_what_the_hardware_is_fastest_in(
    monkeypatch: pytest.MonkeyPatch, on: str, cpu_faster: bool, cuda_bf16: bool, expected: str
) -> None:
    monkeypatch.setattr(device, "bfloat16_is_faster", lambda: cpu_faster)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: cuda_bf16)
    assert resolve_precision("auto", on) == expected
    assert resolve_precision("fp32", on) == "fp32"


@pytest.mark.parametrize(
    ("on", "max_length", "precision", "expected"),
    [
        ("cpu", 256, "bf16", "eager"),
        ("cpu", 513, "bf16", None),
        ("cpu", None, "fp32", None),
        ("cuda", 256, "bf16", None),
    ],
)
def test_attention_is_plain_where_its_way_back_is_quicker(
    on: str, max_length: int | None, precision: Precision, expected: str | None
) -> None:
    assert attention_of(on, max_length, precision) == expected


def test_autocast_computes_products_in_that_precision() -> None:
    one = torch.ones(2, 2)
    with autocast("cpu", "bf16"):
        assert (one @ one).dtype == torch.bfloat16
    with autocast("cpu", "fp32"):
        assert (one @ one).dtype == torch.float32


def test_the_plain_name_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    name = device._DEVICE_OF_ACCELERATE
    monkeypatch.delenv(name, raising=False)
    with plain_device_name("cpu"):
        assert os.environ[name] == "cpu"
    assert name not in os.environ
    with plain_device_name("cuda"):
        assert name not in os.environ
    monkeypatch.setenv(name, "cuda:3")
    with plain_device_name("cpu"):
        assert os.environ[name] == "cuda:3"
    assert os.environ[name] == "cuda:3"
