"""Texts to vectors with onnxruntime: tokenize, batch, run. No torch.

Names are imported when first used: exact search and a torch checkpoint need no onnxruntime.
"""

from typing import TYPE_CHECKING

from cl_haystack.lazy import lazy_names

if TYPE_CHECKING:
    from cl_haystack.encoder.encoder import Encoder
    from cl_haystack.encoder.protocol import TextEncoder, Vectors
    from cl_haystack.encoder.shared import shared_encoder

__all__ = ["Encoder", "TextEncoder", "Vectors", "shared_encoder"]

__getattr__ = lazy_names(
    __name__,
    {
        "Encoder": "cl_haystack.encoder.encoder",
        "TextEncoder": "cl_haystack.encoder.protocol",
        "Vectors": "cl_haystack.encoder.protocol",
        "shared_encoder": "cl_haystack.encoder.shared",
    },
)
