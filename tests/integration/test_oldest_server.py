"""All tests of indices and jobs on the oldest server that is supported; the others run their core on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.opensearch_versions import OLDEST

FOLDER = Path(__file__).parent
FILES = (
    "reembedding",
    "test_adoption.py",
    "test_blocked_indices.py",
    "test_data_types.py",
    "test_index.py",
    "test_index_source.py",
    "test_interrupted_jobs.py",
    "test_jobs.py",
    "test_server_faults.py",
    "test_stock_interoperability.py",
)


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.timeout(1_800)
def test_everything_works_on_the_oldest_server(oldest_url: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not long", "-k", f"not {OLDEST}"]
    done = subprocess.run(
        [*command, *(str(FOLDER / name) for name in FILES)],
        env={**os.environ, "OPENSEARCH_URL": oldest_url},
        cwd=FOLDER.parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5_000:]
