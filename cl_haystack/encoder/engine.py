"""What the encoder needs of a library that runs graphs."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cl_haystack.encoder.protocol import Vectors

Inputs = Mapping[str, NDArray[np.int64]]
"""``input_ids``, ``attention_mask`` and, for some models, ``token_type_ids``: each ``(batch, tokens)``."""


class Engine(Protocol):
    """One graph, ready to run; ``run`` may be called from several threads at once."""

    input_names: list[str]
    output_names: list[str]

    def run(self, inputs: Inputs, output: str) -> Vectors:
        """Compute one output, ``(batch, dim)``."""
        ...
