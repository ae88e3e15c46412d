"""The writer to an OpenSearch index that is bound to a cl-haystack model bundle."""

from haystack_integrations.components.writers.cl_haystack.writer import CLOpenSearchWriter

__all__ = ["CLOpenSearchWriter"]
