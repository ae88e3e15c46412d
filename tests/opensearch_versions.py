"""The servers that tests run on: by default the newest version that works locally."""

import pytest

OLDEST = "2.19.6"

on_every_version = pytest.mark.parametrize("opensearch_url", ["newest", OLDEST], indirect=True)
"""Runs a test on the oldest server that is supported, too."""

with_oldest_long = pytest.mark.parametrize(
    "opensearch_url", ["newest", pytest.param(OLDEST, marks=pytest.mark.long)], indirect=True
)
"""Does the same, with the oldest one among the long tests."""
