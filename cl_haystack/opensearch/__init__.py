"""OpenSearch: an index that knows its model, jobs that lose nothing, searches in one request.

Names are imported when first used: the local server needs neither Haystack nor a client.
"""

from typing import TYPE_CHECKING

from cl_haystack.lazy import lazy_names

if TYPE_CHECKING:
    from cl_haystack.opensearch.binding import IndexBinding
    from cl_haystack.opensearch.connection import Connection
    from cl_haystack.opensearch.index import OpenSearchIndex
    from cl_haystack.opensearch.indexing.bulk import Rejection
    from cl_haystack.opensearch.indexing.jobs import index_documents
    from cl_haystack.opensearch.indexing.report import IndexingReport
    from cl_haystack.opensearch.records import read_documents
    from cl_haystack.opensearch.reembedding.alias_making import make_alias
    from cl_haystack.opensearch.reembedding.fitting import WhicheverFits
    from cl_haystack.opensearch.reembedding.gate import Gate, GateResult
    from cl_haystack.opensearch.reembedding.reembed import reembed
    from cl_haystack.opensearch.reembedding.report import ReembedReport
    from cl_haystack.opensearch.reembedding.rolling_back import RollbackReport, roll_back
    from cl_haystack.opensearch.settings import IndexSettings

__all__ = [
    "Connection",
    "Gate",
    "GateResult",
    "IndexBinding",
    "IndexSettings",
    "IndexingReport",
    "OpenSearchIndex",
    "ReembedReport",
    "Rejection",
    "RollbackReport",
    "WhicheverFits",
    "index_documents",
    "make_alias",
    "read_documents",
    "reembed",
    "roll_back",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Connection": "cl_haystack.opensearch.connection",
        "Gate": "cl_haystack.opensearch.reembedding.gate",
        "GateResult": "cl_haystack.opensearch.reembedding.gate",
        "IndexBinding": "cl_haystack.opensearch.binding",
        "IndexSettings": "cl_haystack.opensearch.settings",
        "IndexingReport": "cl_haystack.opensearch.indexing.report",
        "OpenSearchIndex": "cl_haystack.opensearch.index",
        "ReembedReport": "cl_haystack.opensearch.reembedding.report",
        "Rejection": "cl_haystack.opensearch.indexing.bulk",
        "RollbackReport": "cl_haystack.opensearch.reembedding.rolling_back",
        "WhicheverFits": "cl_haystack.opensearch.reembedding.fitting",
        "index_documents": "cl_haystack.opensearch.indexing.jobs",
        "make_alias": "cl_haystack.opensearch.reembedding.alias_making",
        "read_documents": "cl_haystack.opensearch.records",
        "reembed": "cl_haystack.opensearch.reembedding.reembed",
        "roll_back": "cl_haystack.opensearch.reembedding.rolling_back",
    },
)
