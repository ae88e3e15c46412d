"""A click log of which everything is known: what is relevant, and how likely each position is looked at."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EXAMINATION = (1.0, 0.75, 0.55, 0.42, 0.33, 0.27, 0.22, 0.18, 0.15, 0.13)
_CLICKS_WHEN_RELEVANT, _CLICKS_OTHERWISE = 0.75, 0.08

User = Callable[[list[bool], Random], list[int]]
"""Clicks some of the results, of which it is told which are relevant; returns their positions."""


def looks_by_position(relevant: list[bool], random: Random) -> list[int]:
    """Look at each position independently of all others: what the click model takes for granted."""
    return [
        position
        for position, is_relevant in enumerate(relevant)
        if random.random()
        < EXAMINATION[position] * (_CLICKS_WHEN_RELEVANT if is_relevant else _CLICKS_OTHERWISE)
    ]


def reads_down_and_stops(relevant: list[bool], random: Random) -> list[int]:
    """Read from the top, click, and leave when satisfied: Chapelle and Zhang 2009 (WWW)."""
    clicked = []
    for position, is_relevant in enumerate(relevant):
        if random.random() < (0.65 if is_relevant else 0.06):
            clicked.append(position)
            if random.random() < (0.85 if is_relevant else 0.2):
                break
        if random.random() > 0.9:
            break
    return clicked


def trusts_the_top(relevant: list[bool], random: Random) -> list[int]:
    """Click on what is on top because it is there: Agarwal et al. 2019 (WWW)."""
    trusted = (0.25, 0.12, 0.12)
    return [
        position
        for position, is_relevant in enumerate(relevant)
        if random.random() < 1 / (position + 1)
        and random.random() < (0.7 if is_relevant else trusted[position] if position < 3 else 0.05)
    ]


def simulate(
    qrels: dict[str, set[str]],
    documents: list[str],
    *,
    searches: int,
    seed: int = 0,
    user: User = looks_by_position,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return records of ``ubi_queries`` and ``ubi_events``: a bad ranking, shuffled a little each time."""
    random = Random(seed)
    queries, events = [], []
    for number, (text, relevant) in enumerate(qrels.items()):
        others = random.sample([name for name in documents if name not in relevant], len(EXAMINATION))
        ranking = [*others[: len(EXAMINATION) - len(relevant)], *relevant]  # the relevant ones at the bottom
        random.shuffle(ranking)
        for search in range(searches):
            shown = sorted(ranking, key=lambda name: ranking.index(name) + random.uniform(0, 4))
            query_id, client = f"{number}-{search}", f"client-{random.randrange(10_000)}"
            time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number * searches + search)
            queries.append({
                "query_id": query_id, "user_query": text if search % 2 else f" {text.upper()}",
                "client_id": client, "timestamp": time.isoformat(), "query_response_hit_ids": shown,
            })  # fmt: skip
            for position in user([name in relevant for name in shown], random):
                events.append({
                    "query_id": query_id, "action_name": "click", "client_id": client,
                    "timestamp": (time + timedelta(seconds=20)).isoformat(),
                    "event_attributes": {
                        "object": {"object_id": shown[position], "object_id_field": "_id"},
                        "position": {"ordinal": position + 1},
                    },
                })  # fmt: skip
    return queries, events
