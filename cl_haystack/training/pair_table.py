"""Training pairs on disk, memory-mapped: a million pairs cost no memory but the hashes of their texts."""

import hashlib
import os
import shutil
import weakref
from array import array
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import orjson
from datasets import Dataset, Features, Sequence, Value
from datasets.arrow_writer import ArrowWriter

from cl_haystack.data import Pair
from cl_haystack.training.sampling import TextIds, text_id

OPTIONAL_COLUMNS = ("negatives", "score", "label", "candidate_scores")
"""What a pair may have beside anchor and positive, as losses name it (weight and source go with any)."""

_FEATURES = Features(
    {
        "anchor": Value("large_string"),
        "positive": Value("large_string"),
        "negatives": Sequence(Value("large_string")),
        "score": Value("float64"),
        "label": Value("int8"),
        "weight": Value("float64"),
        "candidate_scores": Sequence(Value("float64")),
        "document_id": Value("large_string"),
    }
)


class PairTable:
    """Pairs that were written to disk once and are read row by row.

    :param pairs: any number of pairs, drawn once.
    """

    def __init__(self, pairs: Iterable[Pair]) -> None:
        folder = mkdtemp(prefix="cl-haystack-pairs-")
        weakref.finalize(self, _remove, folder, os.getpid())
        file = Path(folder) / "pairs.arrow"
        digest = hashlib.sha256()
        ids, ends = array("q"), array("q")  # eight bytes each; a list of numbers takes forty
        present = dict.fromkeys(OPTIONAL_COLUMNS, 0)
        self.weighted = False
        with ArrowWriter(features=_FEATURES, path=str(file)) as writer:
            for pair in pairs:
                row = pair.model_dump(include=set(_FEATURES))
                writer.write(row)
                learned = {name: value for name, value in row.items() if name != "document_id"}
                digest.update(orjson.dumps(learned, option=orjson.OPT_APPEND_NEWLINE))
                texts = (pair.anchor, pair.positive, *pair.negatives)
                ids.extend(map(text_id, texts))
                ends.append(len(ids))
                for column in OPTIONAL_COLUMNS:
                    present[column] += bool(getattr(pair, column) not in (None, ()))
                self.weighted |= pair.weight != 1.0
            writer.finalize()
        self._rows = Dataset.from_file(str(file)) if ends else None
        self.present: dict[str, int] = present
        """How many pairs have each of the optional columns."""
        self.digest = digest.hexdigest()
        """SHA-256 of all that is learned from, in the order of the pairs."""
        self.texts = TextIds(np.array(ids, np.int64), np.array(ends, np.int64))

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, positions: Iterable[int]) -> list[dict[str, Any]]:
        """Read some rows.

        :param positions: which ones, in this order.
        :returns: one dict a row, with anchor, positive, :data:`OPTIONAL_COLUMNS`, weight and document_id.
        """
        if self._rows is None:
            return []
        return list(self._rows.select(list(positions)))

    def num_candidates(self, position: int) -> int:
        """Return how many different texts the pair's anchor has: the positive and its negatives."""
        return len(self.texts.candidates_of(position))


def _remove(folder: str, owner: int) -> None:
    """Remove a folder, unless this is a worker process that the owner was forked into."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def as_pair(row: dict[str, Any]) -> Pair:
    """Turn a row back into the pair that it was made from, without its source."""
    return Pair.model_validate({name: value for name, value in row.items() if value not in (None, [])})
