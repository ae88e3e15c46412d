"""What the layers above need of a model and of a search, so that fakes of five lines can stand in for both.

Bundles and torch checkpoints have the two methods of an encoder; exact search and a live index answer alike.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cl_haystack.progress import OnProgress, ignore

Vectors = NDArray[np.float32]

Search = Callable[[list[str], int], Sequence[Sequence[tuple[str, float]]]]
"""``search(queries, top_k)``: document ids and scores for each query, best first."""


class TextEncoder(Protocol):
    """Anything that turns queries and documents into comparable vectors."""

    def encode_queries(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Return one vector a query, ``(num_texts, dim)``, in the order given."""
        ...

    def encode_documents(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Return one vector a document, ``(num_texts, dim)``, in the order given."""
        ...
