"""Contrastive fine-tuning, ONNX serving and OpenSearch retrieval for Haystack.

Public names are imported when first used (PEP 562), so ``import cl_haystack`` loads neither torch nor
onnxruntime nor Haystack.
"""

from typing import TYPE_CHECKING

from cl_haystack.lazy import lazy_names

if TYPE_CHECKING:
    from cl_haystack.bundle import ModelBundle
    from cl_haystack.encoder import Encoder
    from cl_haystack.errors import CLHaystackError
    from cl_haystack.opensearch import IndexingReport, OpenSearchIndex, index_documents, reembed
    from cl_haystack.opensearch.server import LocalOpenSearch
    from haystack_integrations.components.embedders.cl_haystack import CLDocumentEmbedder, CLTextEmbedder
    from haystack_integrations.components.retrievers.cl_haystack import (
        CLOpenSearchDuplicateRetriever,
        CLOpenSearchHybridRetriever,
        CLOpenSearchRetriever,
    )
    from haystack_integrations.components.writers.cl_haystack import CLOpenSearchWriter

__version__ = "0.1.0"

_HOMES = {
    "CLDocumentEmbedder": "haystack_integrations.components.embedders.cl_haystack",
    "CLHaystackError": "cl_haystack.errors",
    "CLOpenSearchDuplicateRetriever": "haystack_integrations.components.retrievers.cl_haystack",
    "CLOpenSearchHybridRetriever": "haystack_integrations.components.retrievers.cl_haystack",
    "CLOpenSearchRetriever": "haystack_integrations.components.retrievers.cl_haystack",
    "CLOpenSearchWriter": "haystack_integrations.components.writers.cl_haystack",
    "CLTextEmbedder": "haystack_integrations.components.embedders.cl_haystack",
    "Encoder": "cl_haystack.encoder",
    "IndexingReport": "cl_haystack.opensearch",
    "LocalOpenSearch": "cl_haystack.opensearch.server",
    "ModelBundle": "cl_haystack.bundle",
    "OpenSearchIndex": "cl_haystack.opensearch",
    "index_documents": "cl_haystack.opensearch",
    "reembed": "cl_haystack.opensearch",
}

__all__ = [
    "CLDocumentEmbedder",
    "CLHaystackError",
    "CLOpenSearchDuplicateRetriever",
    "CLOpenSearchHybridRetriever",
    "CLOpenSearchRetriever",
    "CLOpenSearchWriter",
    "CLTextEmbedder",
    "Encoder",
    "IndexingReport",
    "LocalOpenSearch",
    "ModelBundle",
    "OpenSearchIndex",
    "__version__",
    "index_documents",
    "reembed",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
