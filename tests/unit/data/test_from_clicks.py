"""Pairs from a click log whose truth is known; broken records are counted."""

from collections import Counter
from datetime import UTC, datetime
from random import Random

import numpy as np
import pytest

from cl_haystack.data.click_model import fit_click_model
from cl_haystack.data.from_clicks import ClickReport, judge_clicks, pairs_from_clicks
from cl_haystack.data.records import parse_time
from cl_haystack.data.ubi import ClickCounts, Impression, read_impressions
from cl_haystack.errors import ConfigurationError, DataError
from tests.unit.data.click_simulation import EXAMINATION, reads_down_and_stops, simulate, trusts_the_top


@pytest.fixture(scope="module")
def truth() -> dict[str, set[str]]:
    random = Random(1)
    return {f"query {number}": {f"d{random.randrange(500)}"} for number in range(150)}


@pytest.fixture(scope="module")
def log(truth):
    return simulate(truth, [f"d{number}" for number in range(500)], searches=60)


def test_what_is_relevant_is_found_and_what_is_only_on_top_is_not(truth, log):
    report = ClickReport()
    chosen = judge_clicks(read_impressions(*log, ClickCounts()), report)
    found = [(query.casefold(), name) for query, names in chosen.positives.items() for name in names]
    right = sum(name in truth[query] for query, name in found)
    assert right / len(found) >= 0.95
    assert right / len(truth) >= 0.9
    # Whoever takes the most clicked documents is taken in by the first position.
    clicked = Counter(
        (event["query_id"].split("-")[0], event["event_attributes"]["object"]["object_id"])
        for event in log[1]
    )
    naive = [(f"query {number}", name) for (number, name), count in clicked.items() if count >= 3]
    assert sum(name in truth[query] for query, name in naive) / len(naive) < 0.6
    negatives = [(query.casefold(), name) for query, names in chosen.negatives.items() for name in names]
    assert len(negatives) > len(truth)
    assert not [name for query, name in negatives if name in truth[query]]
    assert np.abs(np.array(report.examination) - EXAMINATION).max() < 0.08
    assert report.seen_at_several > 0.9


@pytest.mark.parametrize("user", [reads_down_and_stops, trusts_the_top])
def test_pairs_are_right_for_users_whom_the_model_does_not_describe(truth, user):
    log = simulate(truth, [f"d{number}" for number in range(500)], searches=60, seed=4, user=user)
    chosen = judge_clicks(read_impressions(*log, ClickCounts()), ClickReport())
    found = [(query.casefold(), name) for query, names in chosen.positives.items() for name in names]
    assert sum(name in truth[query] for query, name in found) / len(found) >= 0.95
    assert len(found) >= 0.6 * len(truth)
    negatives = [(query.casefold(), name) for query, names in chosen.negatives.items() for name in names]
    assert sum(name in truth[query] for query, name in negatives) <= 0.02 * len(negatives)


def test_the_model_is_the_likeliest_one():
    """The estimate beats the truth and its neighbours by likelihood, as a maximum does."""
    random = np.random.default_rng(0)
    items, positions = (axis.ravel() for axis in np.meshgrid(np.arange(40), np.arange(5), indexing="ij"))
    look, like = 1 / np.arange(1, 6), random.uniform(0.1, 0.9, 40)
    shown = random.integers(50, 150, len(items)).astype(float)
    clicked = random.binomial(shown.astype(int), look[positions] * like[items]).astype(float)
    model = fit_click_model(items, positions, shown, clicked)

    def likelihood(look, like):
        chance = np.clip(look[positions] * like[items], 1e-9, 1 - 1e-9)
        return (clicked * np.log(chance) + (shown - clicked) * np.log(1 - chance)).sum()

    best = likelihood(model.examination, model.attractiveness)
    assert best > likelihood(look, like) - 2  # the prior takes a little
    for _ in range(20):
        moved = model.examination * random.uniform(0.9, 1.1, 5)
        assert likelihood(moved, model.attractiveness) < best
    assert np.abs(model.examination - look).max() < 0.05


def test_records_that_say_nothing_are_counted():
    queries = [
        {
            "_source": {
                "query_id": "1",
                "user_query": "a",
                "query_response_hit_ids": [7, 8],
                "timestamp": 1767225600000,
            }
        },
        {"query_id": "1", "user_query": "again", "query_response_hit_ids": ["7"], "timestamp": "2026-01-01"},
        {"query_id": "2", "user_query": " ", "query_response_hit_ids": ["7"]},
        {"query_id": "3", "user_query": "c", "query_response_hit_ids": []},
        {
            "query_id": "4",
            "user_query": "d",
            "query_response_hit_ids": ["7"],
            "timestamp": "2025-12-31T23:30:00-00:00",
        },
        {"query_id": "5", "user_query": "e", "query_response_hit_ids": ["7"], "timestamp": "yesterday"},
    ]
    click = {"action_name": "click", "query_id": "1", "event_attributes": {"object": {"object_id": 8}}}
    events = [
        click,
        click,
        {**click, "action_name": "impression"},
        {**click, "query_id": "4"},
        {**click, "event_attributes": None},
        {**click, "event_attributes": {"object": {"object_id": "9"}}},
    ]
    counts = ClickCounts()
    [impression] = read_impressions(queries, events, counts, since=parse_time("2026-01-01"))
    assert (impression.query, impression.documents, impression.clicked) == ("a", ("7", "8"), {1})
    assert counts == ClickCounts(
        queries=1, clicks=1, without_text=1, without_results=1, out_of_time=2, repeated_queries=1,
        other_actions=1, without_object=1, unknown_queries=1, not_among_results=1,
    )  # fmt: skip


def test_a_click_far_down_is_no_click_on_something_else_and_one_result_needs_no_list():
    results = [f"d{number}" for number in range(30)]
    queries = [
        {"query_id": "1", "user_query": "a", "query_response_hit_ids": results},
        {"query_id": "2", "user_query": "b", "query_response_hit_ids": "d7"},
        {"query_id": "3", "user_query": "c", "query_response_hit_ids": ""},
    ]
    clicks = [("1", "d19"), ("1", "d25"), ("1", "gone"), ("2", "d7")]
    events = [
        {"action_name": "click", "query_id": query, "event_attributes": {"object": {"object_id": name}}}
        for query, name in clicks
    ]
    counts = ClickCounts()
    first, second = read_impressions(queries, events, counts)
    assert (len(first.documents), first.clicked) == (20, {19})
    assert (second.documents, second.clicked) == (("d7",), {0})
    assert counts == ClickCounts(
        queries=2, clicks=2, without_results=1, behind_max_position=1, not_among_results=1
    )


def test_one_person_is_no_support(log):
    queries, events = ([{**record, "client_id": "the same"} for record in records] for records in log)
    assert not judge_clicks(read_impressions(queries, events, ClickCounts()), ClickReport()).positives


def test_whoever_clicks_again_and_again_counts_once():
    """What 40 of 60 people chose is the answer, not what one program clicked a hundred times."""
    random = Random(3)
    chosen = [["d3"]] * 40 + [["d7"]] * 2 + [[]] * 18
    people = [(f"p{number}", names) for number, names in enumerate(chosen)]
    impressions = []
    for client, names in [*people, *[("bot", ["d7"])] * 100]:
        shown = tuple(random.sample([f"d{number}" for number in range(10)], 10))
        impressions.append(Impression("q", shown, client, {shown.index(name) for name in names}))
    assert judge_clicks(impressions, ClickReport()).positives == {"q": ["d3"]}


def test_documents_without_text_are_counted(log):
    report = ClickReport()
    chosen = judge_clicks(read_impressions(*log, ClickCounts()), report)
    query, [document, *_] = next(iter(chosen.positives.items()))
    [pair] = pairs_from_clicks(chosen, {document: "its text"}, report)
    assert (pair.anchor, pair.positive, pair.source) == (query, "its text", "clicks")
    assert pair.document_id == document
    assert report.pairs == 1
    assert report.without_text > 100


def test_what_cannot_work_is_refused():
    with pytest.raises(DataError, match="no query with results"):
        judge_clicks([], ClickReport())
    with pytest.raises(ConfigurationError, match="min_clicks 0"):
        judge_clicks([], ClickReport(), min_clicks=0)
    with pytest.raises(DataError, match="'yesterday' is no time"):
        parse_time("yesterday")
    assert parse_time("2026-01-01") == datetime(2026, 1, 1, tzinfo=UTC)
