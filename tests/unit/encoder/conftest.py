"""A tiny bundle with prefixes, and its encoder."""

from pathlib import Path

import pytest

from cl_haystack.encoder import Encoder
from cl_haystack.export import export_bundle
from tests.tiny_model import make_tiny_checkpoint


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    checkpoint = make_tiny_checkpoint(folder, query_prefix="query: ", document_prefix="passage: ")
    return export_bundle(checkpoint, folder / "bundle").path


@pytest.fixture
def encoder(bundle: Path) -> Encoder:
    return Encoder.load(bundle)
