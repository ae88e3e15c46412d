"""OpenSearch: an index that knows its model, jobs that lose nothing, searches in one request."""

from cl_haystack.opensearch.binding import IndexBinding
from cl_haystack.opensearch.bulk import Rejection
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.jobs import index_documents
from cl_haystack.opensearch.report import IndexingReport

__all__ = ["Connection", "IndexBinding", "IndexingReport", "OpenSearchIndex", "Rejection", "index_documents"]
