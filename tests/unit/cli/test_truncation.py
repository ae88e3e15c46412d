"""``--truncate-dim`` reaches both the encoder and the index."""

import sys
from pathlib import Path
from typing import Any

import pytest

from cl_haystack.cli.main import main
from cl_haystack.encoder import Encoder
from cl_haystack.opensearch import OpenSearchIndex
from tests.opensearch_fakes import WordEncoder, tiny_bundle

BUNDLE = tiny_bundle(matryoshka_dimensions=(4,))


@pytest.mark.parametrize(
    ("command", "method"),
    [
        (["adopt", "bundle", "--index", "docs"], "cl_haystack.opensearch.OpenSearchIndex.adopt"),
        (["reembed", "--bundle", "bundle", "--alias", "docs"], "cl_haystack.opensearch.reembed"),
    ],
)
def test_cut_vectors_are_adopted_and_re_embedded(
    command: list[str], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def load(path: Path, *, truncate_dim: int | None = None, **unused: Any) -> WordEncoder:
        return WordEncoder(BUNDLE, truncate_dim)

    def note(index: OpenSearchIndex, encoder: WordEncoder, **unused: Any) -> None:
        seen.append((index.dimension, encoder.dimension))
        raise KeyboardInterrupt

    monkeypatch.setattr(Encoder, "load", load)
    monkeypatch.setattr(method, note)
    for options in ([], ["--truncate-dim", "4"]):
        monkeypatch.setattr(sys, "argv", ["cl-haystack", *command, *options])
        with pytest.raises(SystemExit):
            main()
    assert seen == [(8, 8), (4, 4)]
