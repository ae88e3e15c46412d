"""Texts to vectors with onnxruntime: tokenize, batch, run. No torch."""

from cl_haystack.encoder.encoder import Encoder, shared_encoder
from cl_haystack.encoder.protocol import TextEncoder, Vectors

__all__ = ["Encoder", "TextEncoder", "Vectors", "shared_encoder"]
