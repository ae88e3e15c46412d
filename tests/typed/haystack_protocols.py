"""The components as a type checker sees them where Haystack expects its protocols; ``make lint`` checks it.

Nothing here runs: a signature that differs from the sibling's is an error of mypy.
"""

from haystack.components.embedders.types import DocumentEmbedder, TextEmbedder
from haystack.components.retrievers import MultiRetriever, TextEmbeddingRetriever
from haystack.components.retrievers.types import EmbeddingRetriever, TextRetriever

from cl_haystack import (
    CLDocumentEmbedder,
    CLOpenSearchDuplicateRetriever,
    CLOpenSearchHybridRetriever,
    CLOpenSearchRetriever,
    CLTextEmbedder,
    OpenSearchIndex,
)

index = OpenSearchIndex(None, "docs", "bundle")
dense = CLOpenSearchRetriever(index)
hybrid = CLOpenSearchHybridRetriever(index)
same = CLOpenSearchDuplicateRetriever(index)

embedding_retrievers: list[EmbeddingRetriever] = [dense]
text_retrievers: list[TextRetriever] = [hybrid, same]
text_embedder: TextEmbedder = CLTextEmbedder("bundle")
document_embedder: DocumentEmbedder = CLDocumentEmbedder("bundle")

by_text = TextEmbeddingRetriever(retriever=dense, text_embedder=text_embedder)
several = MultiRetriever(retrievers={"dense": by_text, "hybrid": hybrid})
