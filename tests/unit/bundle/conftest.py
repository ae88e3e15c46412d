"""A valid tiny bundle, and a cache of its own for every test."""

from pathlib import Path

import pytest

from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    return tmp_path / "cache" / "bundles"
