"""User Behavior Insights: what was shown for which query, and what was clicked.

The records are those of OpenSearch's indices ``ubi_queries`` and ``ubi_events`` (UBI schema 1.3): a query
names what it returned (``query_response_hit_ids``, best first), an event its query and, in
``event_attributes``, the object. Exports may wrap each record as ``_source``.

Source: the schemas at https://o19s.github.io/ubi/schema/1.3.0/.
"""

import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from cl_haystack.data.records import parse_time
from cl_haystack.errors import DataError

CLICKS = ("click", "click_through")
_EPOCH_DIGITS = 10


@dataclass
class Impression:
    """One list of results that somebody saw.

    :param query: what they asked.
    :param documents: ids of the results, best first.
    :param client: who asked, or the query's own id where that is not told.
    :param clicked: positions in ``documents`` that were clicked, from 0.
    """

    query: str
    documents: tuple[str, ...]
    client: str
    clicked: set[int] = field(default_factory=set)


@dataclass
class ClickCounts:
    """What became of the records of a log; filled while they are read.

    :param queries: queries that count.
    :param clicks: clicks that count; several on one result are one.
    :param without_text: queries without words.
    :param without_results: queries that do not tell what they returned.
    :param out_of_time: queries outside the time range, or without a time where there is a range.
    :param repeated_queries: queries whose id was there before.
    :param other_actions: events that are no click.
    :param without_object: clicks that do not tell on what.
    :param unknown_queries: clicks whose query is none that counts.
    :param behind_max_position: clicks on results that are taken for unseen, so far down are they.
    :param not_among_results: clicks on something that the query did not return.
    """

    queries: int = 0
    clicks: int = 0
    without_text: int = 0
    without_results: int = 0
    out_of_time: int = 0
    repeated_queries: int = 0
    other_actions: int = 0
    without_object: int = 0
    unknown_queries: int = 0
    behind_max_position: int = 0
    not_among_results: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def read_impressions(
    queries: Iterable[dict[str, Any]],
    events: Iterable[dict[str, Any]],
    counts: ClickCounts,
    *,
    actions: Collection[str] = CLICKS,
    since: datetime | None = None,
    until: datetime | None = None,
    max_position: int = 20,
) -> list[Impression]:
    """Join queries and clicks. Holds every query that counts with its results, about 0.8 kB for twenty.

    :param queries: records of ``ubi_queries``.
    :param events: records of ``ubi_events``.
    :param counts: where the counts go.
    :param actions: values of ``action_name`` that are clicks.
    :param since: earliest time of a query; without a time zone, UTC.
    :param until: the time before which a query counts.
    :param max_position: results behind this are taken for unseen, and clicks on them do not count.
    :returns: one impression a query, in their order.
    """
    impressions: dict[str, Impression] = {}
    further: dict[str, tuple[str, ...]] = {}  # results behind max_position
    for record in map(_source, queries):
        query_id = str(record.get("query_id") or "")
        text, documents = record.get("user_query"), _ids(record.get("query_response_hit_ids"))
        if not isinstance(text, str) or not text.strip():
            counts.without_text += 1
        elif not documents or not query_id:
            counts.without_results += 1
        elif not _is_within(record.get("timestamp"), since, until):
            counts.out_of_time += 1
        elif query_id in impressions:
            counts.repeated_queries += 1
        else:
            client = str(record.get("client_id") or query_id)
            impressions[query_id] = Impression(text, documents[:max_position], client)
            if len(documents) > max_position:
                further[query_id] = documents[max_position:]
    for record in map(_source, events):
        _add_click(record, impressions, further, counts, actions)
    counts.queries = len(impressions)
    counts.clicks = sum(len(impression.clicked) for impression in impressions.values())
    return list(impressions.values())


def _add_click(
    record: dict[str, Any],
    impressions: dict[str, Impression],
    further: dict[str, tuple[str, ...]],
    counts: ClickCounts,
    actions: Collection[str],
) -> None:
    if record.get("action_name") not in actions:
        counts.other_actions += 1
        return
    attributes = record.get("event_attributes")
    clicked = attributes.get("object") if isinstance(attributes, dict) else None
    names = [clicked.get(name) for name in ("object_id", "internal_id")] if isinstance(clicked, dict) else []
    ids = [str(name) for name in names if name not in (None, "")]
    if not ids:
        counts.without_object += 1
        return
    query_id = str(record.get("query_id"))
    impression = impressions.get(query_id)
    if impression is None:
        counts.unknown_queries += 1
        return
    positions = [impression.documents.index(name) for name in ids if name in impression.documents]
    if positions:
        impression.clicked.add(positions[0])
    elif not set(ids).isdisjoint(further.get(query_id, ())):
        counts.behind_max_position += 1
    else:
        counts.not_among_results += 1


def _source(record: dict[str, Any]) -> dict[str, Any]:
    source = record.get("_source")
    return source if isinstance(source, dict) else record


def _ids(value: Any) -> tuple[str, ...]:
    """Return ids, each once, of a list or of the only one, which OpenSearch takes as well."""
    if isinstance(value, str | int) and value != "":
        return (str(value),)
    if not isinstance(value, list):
        return ()
    return tuple(
        dict.fromkeys(sys.intern(str(name)) for name in value)
    )  # shown again and again: one text each


def _is_within(value: Any, since: datetime | None, until: datetime | None) -> bool:
    if since is None and until is None:
        return True
    times = list(_times(value))
    return bool(times) and (since is None or times[0] >= since) and (until is None or times[0] < until)


def _times(value: Any) -> Iterator[datetime]:
    """Yield the time that a field holds, ISO 8601 or milliseconds since 1970, or nothing."""
    try:
        if isinstance(value, int | float) or (
            isinstance(value, str) and value.isdecimal() and len(value) > _EPOCH_DIGITS
        ):
            yield datetime.fromtimestamp(float(value) / 1000, UTC)
        elif isinstance(value, str):
            yield parse_time(value)
    except (DataError, OverflowError, OSError, ValueError):
        return
