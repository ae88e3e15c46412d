"""Fixtures of the tests of training."""

from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny checkpoint of random weights."""
    return make_tiny_checkpoint(tmp_path)
