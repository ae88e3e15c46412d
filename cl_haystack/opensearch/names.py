"""Names of indices and aliases: which there can be, what is behind one, and which others are like it."""

import difflib
import re
from typing import Any

from cl_haystack.errors import ConfigurationError, IndexingError, ServerUnavailableError
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.failures import opensearch_errors

_FORBIDDEN = re.compile(r'[\s\\/*?"<>|,#:A-Z]|^[-_+.]')


def check_name(name: Any) -> None:
    """Refuse what no index can be called.

    :param name: of an index or alias.
    :raises ConfigurationError: it is no text, or has letters or signs that OpenSearch does not take.
    """
    if not isinstance(name, str) or not name or _FORBIDDEN.search(name):
        raise ConfigurationError(
            f"{name!r} is no name for an index: use lower-case letters, digits, '-', '_' and '.', and "
            "begin with a letter or digit"
        )


def mappings_behind(connection: Connection, name: str) -> dict[str, dict[str, Any]] | None:
    """Return the mapping of every concrete index behind a name, None where there is none.

    :param connection: the server.
    :param name: of an index or alias.
    :returns: mapping by concrete name.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    # With `ignore`, because opensearch-py logs a warning for a status that raises.
    with opensearch_errors(connection.url, name):
        client: Any = connection.client()  # opensearch-py does not declare `ignore`
        answer = client.indices.get_mapping(index=name, ignore=[404])
    if answer.get("status") == 404:
        return None
    if not all(isinstance(entry, dict) and "mappings" in entry for entry in answer.values()):
        raise ServerUnavailableError(
            connection.url, "what answers there is not OpenSearch; correct the address"
        )
    return {concrete: entry["mappings"] for concrete, entry in answer.items()}


def existing_mappings(connection: Connection, name: str) -> dict[str, dict[str, Any]]:
    """Return the mapping of every concrete index behind a name that must lead somewhere.

    :param connection: the server.
    :param name: of an index or alias.
    :returns: mapping by concrete name.
    :raises IndexingError: there is no such index.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    mappings = mappings_behind(connection, name)
    if mappings is None:
        raise _missing_index(connection, name)
    return mappings


def _missing_index(connection: Connection, name: str) -> IndexingError:
    """Return the error for a name that leads nowhere; it tells which names are like it."""
    with opensearch_errors(connection.url):
        names = [
            known
            for index, entry in connection.client().indices.get_alias().items()
            for known in (index, *entry["aliases"])
            if not known.startswith(".")
        ]
    near = difflib.get_close_matches(name, names, n=3) or sorted(names)[:5]
    there = f"; there are {', '.join(near)}" if near else "; there are no indices yet"
    return IndexingError(
        f"index '{name}' does not exist at {connection.url}{there}. Make it with "
        "`cl-haystack index` or OpenSearchIndex.create(), or correct the name"
    )
