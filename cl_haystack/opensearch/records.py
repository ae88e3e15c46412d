"""Records of any index, all of them or by id: click logs, and the texts that they name."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from opensearchpy.helpers import scan

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.failures import opensearch_errors

_FETCHED_AT_ONCE = 1000


def read_records(connection: Connection, index: str) -> Iterator[dict[str, Any]]:
    """Read all records of an index, in no particular order, as they are at the first request.

    :param connection: the server.
    :param index: name of the index or alias.
    :yields: the source of each record.
    :raises IndexingError: there is no such index, or reading it failed.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    with opensearch_errors(connection.url, index):
        for hit in scan(connection.client(), index=index, size=_FETCHED_AT_ONCE):
            yield hit["_source"]


def read_texts(
    connection: Connection, index: str, ids: Iterable[str], *, field: str = "content"
) -> dict[str, str]:
    """Read one field of some documents.

    :param connection: the server.
    :param index: name of the index or alias.
    :param ids: ids of the documents.
    :param field: name of the field that holds the text.
    :returns: text by id; ids that the index lacks are left out.
    :raises IndexingError: there is no such index, or reading it failed.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    texts: dict[str, str] = {}
    rest = iter(sorted(ids))
    while some := list(islice(rest, _FETCHED_AT_ONCE)):
        with opensearch_errors(connection.url, index):
            answer = connection.client().mget(body={"ids": some}, index=index, params={"_source": field})
        for document in answer["docs"]:
            if "error" in document:
                raise IndexingError(f"index '{index}' cannot be read: {document['error']['reason']}")
            value = document.get("_source", {}).get(field)
            if isinstance(value, str):
                texts[document["_id"]] = value
    return texts
