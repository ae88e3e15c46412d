"""What the layers above need of a model: two methods, which bundles, torch checkpoints and fakes all have."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cl_haystack.progress import OnProgress, ignore

Vectors = NDArray[np.float32]


class TextEncoder(Protocol):
    """Anything that turns queries and documents into comparable vectors."""

    def encode_queries(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Return one vector a query, ``(num_texts, dim)``, in the order given."""
        ...

    def encode_documents(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Return one vector a document, ``(num_texts, dim)``, in the order given."""
        ...
