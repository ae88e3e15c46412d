"""Merging an index into one segment, which may take hours: started on the server, then asked after."""

import time

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.failures import opensearch_errors, reason_in
from cl_haystack.opensearch.index import OpenSearchIndex
from cl_haystack.opensearch.patience import Patience

_POLL_S = 1.0
_FIRST_POLL_S = 0.05


def merge_segments(index: OpenSearchIndex, patience: Patience) -> None:
    """Merge every shard into one segment, and wait for it.

    :param index: the index.
    :param patience: repeats requests.
    :raises IndexingError: the server gave up.
    """
    client, url = index.connection.client(), index.connection.url

    def start() -> str:
        params = {"max_num_segments": "1", "wait_for_completion": "false"}
        with opensearch_errors(url, index.name):
            return str(client.indices.forcemerge(index=index.name, params=params)["task"])

    def ask() -> dict[str, object]:
        with opensearch_errors(url, index.name):
            answer: dict[str, object] = client.tasks.get(task_id=task)
        return answer

    task = patience(start)
    pause = _FIRST_POLL_S
    while not (answer := patience(ask))["completed"]:
        time.sleep(pause)
        pause = min(2 * pause, _POLL_S)
    if "error" in answer:
        raise IndexingError(f"index '{index.name}' at {url} could not be merged: {reason_in(answer)}")
