"""One search as it is sent, and what makes documents of its answer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from haystack import Document

from cl_haystack.opensearch.documents import read_hit
from cl_haystack.opensearch.mapping import CONTENT_FIELD

Hits = list[dict[str, Any]]


def read_hits(hits: Hits) -> list[Document]:
    """Return the documents of an answer; highlighted passages, where asked for, are in their meta."""
    return [_with_highlights(read_hit(hit), hit.get("highlight")) for hit in hits]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is sent to the server, and what makes documents of its answer.

    :param body: of a search request.
    :param read: the hits of the answer to documents.
    :param weighs_ranks: it asks for weighted reciprocal rank fusion, which older servers refuse.
    """

    body: dict[str, Any]
    read: Callable[[Hits], list[Document]] = read_hits
    weighs_ranks: bool = False

    def without_content(self) -> "SearchRequest":
        """Return the request for ids and scores alone."""
        return replace(self, body={**self.body, "_source": False}, read=read_hits)


def _with_highlights(document: Document, highlight: dict[str, list[str]] | None) -> Document:
    if highlight is None:
        return document
    return replace(document, meta={**document.meta, "highlights": highlight[CONTENT_FIELD]})
