"""What a job has left: the documents of an index, and the settings that a first load lowers."""

from typing import Any

from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.indexing.first_load import RECORD_KEY


def contents(index: OpenSearchIndex) -> dict[str, Any]:
    index.refresh()
    body = {"query": {"match_all": {}}, "size": 10_000}
    hits = index.connection.client().search(index=index.name, body=body)["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def settings_of(index: OpenSearchIndex) -> tuple[str | None, str, bool]:
    """Refresh interval, replicas, and whether a first load is on record."""
    entry = index.connection.client().indices.get(index=index.name)[index.name]
    settings = entry["settings"]["index"]
    recorded = RECORD_KEY in entry["mappings"]["_meta"]
    return settings.get("refresh_interval"), settings["number_of_replicas"], recorded
