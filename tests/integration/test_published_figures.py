"""Figures that others have published, from the command line with the real model on the real data."""

import json
import subprocess
import sys

import pytest


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_scifact_has_the_published_ndcg(base_bundle, data_dir):
    """all-MiniLM-L6-v2, length 256, zero-shot on SciFact test: nDCG@10 = 0.6451."""
    run = "from cl_haystack.cli.main import main; main()"
    command = [sys.executable, "-c", run, "evaluate", base_bundle, data_dir / "scifact", "--json"]
    done = subprocess.run([*map(str, command), "--split", "test"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["num_queries"], found["num_documents"]) == (300, 5183)
    assert found["metrics"]["ndcg@10"] == pytest.approx(0.6451, abs=0.0005)
    assert found["metrics"]["recall@100"] == pytest.approx(0.925, abs=0.002)
