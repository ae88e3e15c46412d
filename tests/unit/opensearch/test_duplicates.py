"""Groups of near-duplicates against a walk through the matrix, page by page."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.opensearch import duplicates
from cl_haystack.opensearch.duplicates import MAX_DUPLICATES, DuplicateGroup, group_duplicates, outside
from cl_haystack.opensearch.queries import filter_clause
from cl_haystack.progress import Progress
from tests.reference.search import connected


def as_rows(vectors: Any) -> Any:
    return np.array(vectors, dtype=np.float32)


def unlike_itself(vectors: Any) -> Any:
    """Rows of documents that no search need find by their own vector."""
    return np.zeros((len(vectors), 1), dtype=np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(0, 150), st.floats(0, 0.03))
def test_groups_are_the_connected_components(seed: int, count: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    one_way = rng.random((count, count)) < share  # an approximate search may find a link from one side alone
    asked: list[int] = []

    def neighbours(vectors: Sequence[list[float]], known: Any) -> list[list[tuple[str, float]]]:
        asked.append(len(vectors))
        numbers = [int(vector[0]) for vector in vectors]
        return [[(str(other), 0.9) for other in np.flatnonzero(one_way[number])] for number in numbers]

    steps: list[Progress] = []
    vectors = ((str(number), [float(number)]) for number in range(count))
    groups = group_duplicates(
        vectors, neighbours, rows=unlike_itself, threshold=0.9, total=count, on_progress=steps.append
    )
    np.fill_diagonal(one_way, val=False)
    expected = {tuple(sorted(map(str, group))) for group in connected(one_way | one_way.T)}
    assert {group.ids for group in groups} == expected
    assert max(asked, default=0) <= 64  # a page, however many documents there are
    assert [step.done for step in steps] == np.cumsum(asked).tolist()


def test_the_weakest_link_of_a_group_is_told_and_large_groups_come_first() -> None:
    links = {"a": [("a", 1.0), ("b", 0.97)], "b": [("c", 0.95)], "d": [("e", 0.99)]}

    def neighbours(vectors: Sequence[list[float]], known: Any) -> list[list[tuple[str, float]]]:
        return [links.get("abcdef"[int(vector[0])], []) for vector in vectors]

    vectors = [(name, [float(number)]) for number, name in enumerate("abcdef")]
    groups = group_duplicates(
        vectors, neighbours, rows=unlike_itself, threshold=0.9, total=6, on_progress=lambda step: None
    )
    assert groups == [DuplicateGroup(("a", "b", "c"), 0.95), DuplicateGroup(("d", "e"), 0.99)]


def test_documents_out_of_reach_of_every_search_are_compared_with_each_other() -> None:
    """As HNSW of OpenSearch 2.19 loses a whole crowd of copies; some of one are found by others."""
    angles = np.repeat([0.0, 0.5, 1.0, 1.5], [3, 200, 1, 40]) + np.tile([0.0, 0.001], 122)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    similarity = vectors @ vectors.T
    lost = {*range(3, 203), 203, *range(204, 224)}  # one crowd, a document of its own, and half of a crowd

    def neighbours(asking: Sequence[Any], known: Sequence[Collection[str]]) -> list[list[tuple[str, float]]]:
        answers = []
        for vector, ids in zip(asking, known, strict=True):
            near = similarity[np.flatnonzero((vectors == vector).all(axis=1))[0]]
            found = [(str(other), float(near[other])) for other in np.flatnonzero(near >= 0.99)]
            answers.append(
                [hit for hit in found if int(hit[0]) not in lost and hit[0] not in ids][:MAX_DUPLICATES]
            )
        return answers

    named = [(str(number), vector) for number, vector in enumerate(vectors)]
    groups = group_duplicates(
        named, neighbours, rows=as_rows, threshold=0.99, total=244, on_progress=lambda step: None
    )
    expected = {tuple(sorted(map(str, group))) for group in connected(similarity >= 0.99)}
    assert {group.ids for group in groups} == expected
    assert sorted(map(len, expected)) == [3, 40, 200]


@pytest.mark.parametrize("copies", [1, 40, 260])
def test_more_neighbours_than_an_answer_holds_are_asked_for_until_all_are_known(copies: int) -> None:
    """Three crowds on a line: those in the middle see all, the outer ones not each other."""
    places = np.repeat([0.0, 1.0, 2.0, 9.0], [150, 3, 150, 130])
    if copies == 1:
        places += np.linspace(0, 0.01, len(places))  # no two alike, so nobody's answer serves another
    rng = np.random.default_rng(copies)
    places = rng.permutation(np.concatenate([places, np.full(copies, 20.0)]))
    num_asked = 0

    def neighbours(
        vectors: Sequence[list[float]], known: Sequence[Collection[str]]
    ) -> list[list[tuple[str, float]]]:
        nonlocal num_asked
        num_asked += len(vectors)
        answers = []
        for (place,), ids in zip(vectors, known, strict=True):
            distance = np.abs(places - place)
            nearest = [
                str(number) for number in np.argsort(distance, kind="stable") if distance[number] < 1.5
            ]
            answers.append([(name, 0.9) for name in nearest if name not in ids][:MAX_DUPLICATES])
        return answers

    vectors = ((str(number), [place]) for number, place in enumerate(places))
    groups = group_duplicates(
        vectors, neighbours, rows=as_rows, threshold=0.9, total=len(places), on_progress=lambda step: None
    )
    expected = connected(np.abs(places[:, None] - places) < 1.5)
    assert {group.ids for group in groups} == {tuple(sorted(map(str, group))) for group in expected}
    assert num_asked <= (2.1 if copies == 1 else 0.7) * len(places)


@pytest.mark.parametrize("seed", range(4))
def test_crowds_are_grouped_whole_and_do_not_send_the_square_of_their_size(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a circle: every crowd has more members than an answer holds, or than are sent."""
    monkeypatch.setattr(duplicates, "_MAX_LEFT_OUT", limit := 120)
    rng = np.random.default_rng(seed)
    width, threshold = 0.01, float(np.cos(0.1))
    centres = [0.0, 0.1, 0.5, 0.6 + width / 2, 0.9, 1.2, 1.29, 1.38]  # some only just reach the next one
    sizes = rng.integers(1, 200, size=len(centres))
    angles = np.concatenate([c + rng.random(n) * width for c, n in zip(centres, sizes, strict=True)])
    copies = rng.choice(angles, size=100)
    angles = rng.permutation(np.concatenate([angles, copies, np.full(150, 2.0)]))
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    similarity = rows @ rows.T
    numbers = {tuple(row): number for number, row in enumerate(rows.tolist())}
    sent: list[int] = []

    def neighbours(
        vectors: Sequence[Sequence[float]], known: Sequence[Collection[str]]
    ) -> list[list[tuple[str, float]]]:
        sent.extend(map(len, known))
        answers = []
        for vector, ids in zip(vectors, known, strict=True):
            row = similarity[numbers[tuple(np.asarray(vector).tolist())]]
            nearest = [(str(n), float(row[n])) for n in np.argsort(-row) if row[n] >= threshold]
            answers.append([near for near in nearest if near[0] not in ids][:MAX_DUPLICATES])
        return answers

    vectors = [(str(number), row.tolist()) for number, row in enumerate(rows)]
    groups = group_duplicates(
        vectors, neighbours, rows=as_rows, threshold=threshold, total=len(rows), on_progress=lambda _: None
    )
    expected = connected(similarity >= threshold)
    assert {group.ids for group in groups} == {tuple(sorted(map(str, group))) for group in expected}
    assert max(sent) <= limit
    assert len(sent) <= 2.5 * len(rows)
    assert all(group.lowest_similarity >= threshold for group in groups)


def test_filters_that_leave_ids_out_take_any_number_of_them() -> None:
    kind = {"field": "meta.kind", "operator": "==", "value": "a"}
    assert outside([], kind) == kind
    assert outside([], None) is None
    ids = [str(number) for number in range(70_000)]
    clause = filter_clause(outside(ids, kind), frozenset())
    wanted, *others = clause["bool"]["must"]  # type: ignore[index]
    assert wanted == {"term": {"kind": "a"}}
    left_out = [clause["bool"]["must_not"]["terms"]["_id"] for clause in others]
    assert [name for part in left_out for name in part] == ids
    assert max(map(len, left_out)) <= 65_536
