"""Retrievers over an OpenSearch index that is bound to a cl-haystack model bundle."""

from haystack_integrations.components.retrievers.cl_haystack.duplicate_retriever import (
    CLOpenSearchDuplicateRetriever,
)
from haystack_integrations.components.retrievers.cl_haystack.hybrid_retriever import (
    CLOpenSearchHybridRetriever,
)
from haystack_integrations.components.retrievers.cl_haystack.retriever import CLOpenSearchRetriever

__all__ = ["CLOpenSearchDuplicateRetriever", "CLOpenSearchHybridRetriever", "CLOpenSearchRetriever"]
