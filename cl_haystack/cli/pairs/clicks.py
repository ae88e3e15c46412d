"""``cl-haystack pairs from-clicks``: pairs out of a click log, from OpenSearch or from files."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cl_haystack.cli.console import err, print_json
from cl_haystack.cli.pairs.making import AsJson, GivenCorpus, Origin, Out, tell_oddities, write_described

if TYPE_CHECKING:
    from cl_haystack.data.from_clicks import ClickedDocuments, ClickReport
    from cl_haystack.data.lines import Faults
    from cl_haystack.data.ubi import ClickCounts
    from cl_haystack.opensearch import Connection

_LITTLE_SEEN_AT_SEVERAL = 0.1
_FILE_ENDINGS = (".jsonl", ".ndjson")


def from_clicks(
    out: Out,
    queries: Annotated[
        str, typer.Option(metavar="INDEX|FILE.jsonl", help="The log's queries, in UBI's layout.")
    ] = "ubi_queries",
    events: Annotated[
        str, typer.Option(metavar="INDEX|FILE.jsonl", help="The log's events, in UBI's layout.")
    ] = "ubi_events",
    index: Annotated[str | None, typer.Option(help="Index with the documents' texts.")] = None,
    field: Annotated[str, typer.Option(help="Its field with the text.")] = "content",
    corpus: Annotated[
        Path | None, typer.Option(metavar="CORPUS.jsonl", help="Or a file with them: _id, title, text.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of OpenSearch (default: $OPENSEARCH_URL).")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Earliest query, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Queries before this.")] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(help="action_name that is a click (default: click and click_through); may be repeated."),
    ] = None,
    min_clicks: Annotated[int, typer.Option(min=1, help="People who must have clicked a positive.")] = 3,
    min_skips: Annotated[
        int, typer.Option(min=1, help="People who must have passed over a negative, to click below.")
    ] = 3,
    num_negatives: Annotated[int, typer.Option(min=0, help="Most negatives of a query.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Make pairs of what people clicked, once the position where they saw it is allowed for.

    A positive was clicked by several people, and more than documents are on average at the positions where it
    was shown. A negative was passed over on the way to a click below it, and clicked less than any positive.

    [bold]Examples[/bold]

    cl-haystack pairs from-clicks --index articles -o pairs.jsonl

    cl-haystack pairs from-clicks --index articles --since 2026-08-01 --min-clicks 5 -o pairs.jsonl

    cl-haystack pairs from-clicks --queries q.jsonl --events e.jsonl --corpus corpus.jsonl -o pairs.jsonl
    """
    from cl_haystack.data.beir import odd_lines
    from cl_haystack.data.from_clicks import ClickReport, judge_clicks, pairs_from_clicks
    from cl_haystack.data.lines import Faults
    from cl_haystack.data.records import parse_time
    from cl_haystack.data.ubi import CLICKS, ClickCounts, read_impressions
    from cl_haystack.errors import DataError
    from cl_haystack.opensearch import Connection

    if (index is None) == (corpus is None):
        raise typer.BadParameter("tell where the texts are: either --index or --corpus", param_hint="--index")
    counts, report, faults = ClickCounts(), ClickReport(), Faults()
    given = None if corpus is None else GivenCorpus(corpus)
    with closing(Connection(url)) as connection:
        impressions = read_impressions(
            _records(queries, connection, faults),
            _records(events, connection, faults),
            counts,
            actions=tuple(action or CLICKS),
            since=None if since is None else parse_time(since),
            until=None if until is None else parse_time(until),
        )
        chosen = judge_clicks(
            impressions, report, min_clicks=min_clicks, min_skips=min_skips, num_negatives=num_negatives
        )
        texts = _texts(chosen, given, index, field, connection)
    oddities = odd_lines("lines of the log cannot be read and are left out", faults)
    oddities += given.oddities() if given else []
    pairs = list(pairs_from_clicks(chosen, texts, report))
    if not pairs:
        raise DataError(f"no pair could be made: {_skipped(counts, report)}; nothing was written")
    files = tuple(Path(name) for name in (queries, events) if name.endswith(_FILE_ENDINGS))
    origin = Origin(f"from-clicks ({queries}, {events})", files, "clicks", since or "", until or "")
    write_described(pairs, out, origin, counts.as_dict)
    if as_json:
        told = [asdict(oddity) for oddity in oddities]
        print_json({"log": counts.as_dict(), "pairs": report.as_dict(), "oddities": told})
        return
    tell_oddities(oddities)
    if report.seen_at_several < _LITTLE_SEEN_AT_SEVERAL:
        err.print(
            f"warning: only {report.seen_at_several:.0%} of the results were shown at several positions; "
            "what is good and what is only on top can hardly be told apart",
        )
    err.print(
        f"{out}: {report.pairs:,} pairs with {report.negatives:,} negatives from {counts.clicks:,} clicks on "
        f"{counts.queries:,} queries; left out: {_skipped(counts, report)}",
    )


def _records(name: str, connection: "Connection", faults: "Faults") -> Iterator[dict[str, Any]]:
    from cl_haystack.data.lines import read_json_objects
    from cl_haystack.opensearch.records import read_records

    if name.endswith(_FILE_ENDINGS):
        return (record for _, record in read_json_objects(Path(name), faults))
    return read_records(connection, name)


def _texts(
    chosen: "ClickedDocuments",
    given: GivenCorpus | None,
    index: str | None,
    field: str,
    connection: "Connection",
) -> dict[str, str]:
    from cl_haystack.opensearch.records import read_texts

    wanted = chosen.documents
    if given is not None:
        return {d.id: d.content for d in given.documents() if d.id in wanted}
    assert index is not None
    return read_texts(connection, index, wanted, field=field)


def _skipped(counts: "ClickCounts", report: "ClickReport") -> str:
    made = ("queries", "clicks", "shown", "pairs", "negatives")
    found = counts.as_dict() | {name: n for name, n in report.as_dict().items() if isinstance(n, int)}
    told = (f"{n:,} {name.replace('_', ' ')}" for name, n in found.items() if n and name not in made)
    return ", ".join(told) or "nothing"
