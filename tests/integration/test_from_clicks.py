"""A click log in a real OpenSearch becomes pairs that are right, on the command line."""

import uuid
from pathlib import Path
from random import Random

import orjson
import pytest
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk
from typer.testing import CliRunner

from cl_haystack.cli.main import app
from cl_haystack.data import read_pairs
from tests.unit.data.click_simulation import simulate

pytestmark = pytest.mark.integration
_KEYWORD = {"type": "keyword"}


@pytest.fixture(scope="module")
def log(opensearch_url: str):
    """Indices with a log, made as the UBI plugin makes them, and one with the documents; and the truth."""
    random = Random(2)
    truth = {f"how to use item {number}": {f"d{random.randrange(300)}"} for number in range(60)}
    queries, events = simulate(truth, [f"d{number}" for number in range(300)], searches=50)
    name = uuid.uuid4().hex
    client = OpenSearch(opensearch_url)
    query_fields = {"query_id": _KEYWORD, "timestamp": {"type": "date"}, "query_response_hit_ids": _KEYWORD}
    event_fields = {"action_name": _KEYWORD, "timestamp": {"type": "date"}}
    contents = {
        f"{name}-queries": ({"dynamic": False, "properties": query_fields}, queries),
        f"{name}-events": ({"properties": event_fields}, events),
        f"{name}-docs": ({}, [{"content": f"Text of document d{number}."} for number in range(300)]),
    }
    for index, (mappings, records) in contents.items():
        client.indices.create(index=index, body={"mappings": mappings})
        actions = [{"_index": index, "_id": f"d{i}", "_source": record} for i, record in enumerate(records)]
        bulk(client, actions, refresh=True)
    yield name, truth, queries, events
    client.indices.delete(index=f"{name}-*")
    client.close()


def run(*arguments: str):
    return CliRunner().invoke(app, ["pairs", "from-clicks", *arguments], catch_exceptions=False)


def test_pairs_of_a_biased_log_are_right(log, opensearch_url, tmp_path: Path):
    name, truth, queries, events = log
    options = ["--queries", f"{name}-queries", "--events", f"{name}-events", "--index", f"{name}-docs"]
    result = run(*options, "--url", opensearch_url, "-o", str(tmp_path / "pairs.jsonl"), "--json")
    assert result.exit_code == 0
    told = orjson.loads(result.stdout)
    assert told["log"]["queries"] == len(queries)
    pairs = list(read_pairs(tmp_path / "pairs.jsonl"))
    relevant = {query: f"Text of document {next(iter(names))}." for query, names in truth.items()}
    right = [pair.positive == relevant[pair.anchor.casefold()] for pair in pairs]
    assert sum(right) / len(pairs) >= 0.95
    assert sum(right) >= 0.85 * len(truth)
    assert told["pairs"]["negatives"] >= len(pairs)
    assert not [pair for pair in pairs if relevant[pair.anchor.casefold()] in pair.negatives]
    # The same log as files gives the same pairs.
    for kind, records in (("queries", queries), ("events", events)):
        (tmp_path / f"{kind}.jsonl").write_bytes(b"\n".join(orjson.dumps({"_source": r}) for r in records))
    options = [f"--{kind}={tmp_path / kind}.jsonl" for kind in ("queries", "events")]
    run(*options, "--index", f"{name}-docs", "--url", opensearch_url, "-o", str(tmp_path / "again.jsonl"))
    again = list(read_pairs(tmp_path / "again.jsonl"))
    assert sorted(p.model_dump_json() for p in again) == sorted(p.model_dump_json() for p in pairs)


def test_a_missing_index_is_one_clear_error(opensearch_url, tmp_path: Path):
    from cl_haystack.errors import IndexingError

    with pytest.raises(IndexingError, match="no-such-log"):
        run(
            "--queries",
            "no-such-log",
            "--index",
            "x",
            "--url",
            opensearch_url,
            "-o",
            str(tmp_path / "p.jsonl"),
        )
    assert not list(tmp_path.iterdir())
