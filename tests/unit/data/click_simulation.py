"""A click log of which everything is known: what is relevant, and how likely each position is looked at."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EXAMINATION = (1.0, 0.75, 0.55, 0.42, 0.33, 0.27, 0.22, 0.18, 0.15, 0.13)
_CLICKS_WHEN_RELEVANT, _CLICKS_OTHERWISE = 0.75, 0.08


def simulate(
    qrels: dict[str, set[str]], documents: list[str], *, searches: int, seed: int = 0
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
            for position, name in enumerate(shown):
                clicks = _CLICKS_WHEN_RELEVANT if name in relevant else _CLICKS_OTHERWISE
                if random.random() < EXAMINATION[position] * clicks:
                    events.append({
                        "query_id": query_id, "action_name": "click", "client_id": client,
                        "timestamp": (time + timedelta(seconds=20)).isoformat(),
                        "event_attributes": {
                            "object": {"object_id": name, "object_id_field": "_id"},
                            "position": {"ordinal": position + 1},
                        },
                    })  # fmt: skip
    return queries, events
