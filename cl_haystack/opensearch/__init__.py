"""OpenSearch: an index that knows its model, jobs that lose nothing, searches in one request.

Names are imported when first used: the local server needs neither Haystack nor a client.
"""

from typing import TYPE_CHECKING

from cl_haystack.lazy import lazy_names

if TYPE_CHECKING:
    from cl_haystack.opensearch.binding import IndexBinding
    from cl_haystack.opensearch.bulk import Rejection
    from cl_haystack.opensearch.connection import Connection
    from cl_haystack.opensearch.index import OpenSearchIndex
    from cl_haystack.opensearch.jobs import index_documents
    from cl_haystack.opensearch.report import IndexingReport
    from cl_haystack.opensearch.settings import IndexSettings

__all__ = [
    "Connection",
    "IndexBinding",
    "IndexSettings",
    "IndexingReport",
    "OpenSearchIndex",
    "Rejection",
    "index_documents",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Connection": "cl_haystack.opensearch.connection",
        "IndexBinding": "cl_haystack.opensearch.binding",
        "IndexSettings": "cl_haystack.opensearch.settings",
        "IndexingReport": "cl_haystack.opensearch.report",
        "OpenSearchIndex": "cl_haystack.opensearch.index",
        "Rejection": "cl_haystack.opensearch.bulk",
        "index_documents": "cl_haystack.opensearch.jobs",
    },
)
