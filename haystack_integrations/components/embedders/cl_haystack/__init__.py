"""Embedders that run a cl-haystack model bundle with onnxruntime."""

from haystack_integrations.components.embedders.cl_haystack.document_embedder import CLDocumentEmbedder
from haystack_integrations.components.embedders.cl_haystack.text_embedder import CLTextEmbedder

__all__ = ["CLDocumentEmbedder", "CLTextEmbedder"]
