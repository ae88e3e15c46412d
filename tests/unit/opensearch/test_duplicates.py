"""Groups of near-duplicates against a walk through the matrix, page by page."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.opensearch.duplicates import DuplicateGroup, group_duplicates
from cl_haystack.progress import Progress
from tests.reference.search import connected


@given(st.integers(0, 2**32 - 1), st.integers(0, 150), st.floats(0, 0.03))
def test_groups_are_the_connected_components(seed: int, count: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    one_way = rng.random((count, count)) < share  # an approximate search may find a link from one side alone
    asked: list[int] = []

    def neighbours(vectors: Sequence[list[float]]) -> list[list[tuple[str, float]]]:
        asked.append(len(vectors))
        numbers = [int(vector[0]) for vector in vectors]
        return [[(str(other), 0.9) for other in np.flatnonzero(one_way[number])] for number in numbers]

    steps: list[Progress] = []
    vectors = ((str(number), [float(number)]) for number in range(count))
    groups = group_duplicates(vectors, neighbours, total=count, on_progress=steps.append)
    np.fill_diagonal(one_way, val=False)
    expected = {tuple(sorted(map(str, group))) for group in connected(one_way | one_way.T)}
    assert {group.ids for group in groups} == expected
    assert max(asked, default=0) <= 64  # a page, however many documents there are
    assert [step.done for step in steps] == np.cumsum(asked).tolist()


def test_the_weakest_link_of_a_group_is_told_and_large_groups_come_first() -> None:
    links = {"a": [("a", 1.0), ("b", 0.97)], "b": [("c", 0.95)], "d": [("e", 0.99)]}

    def neighbours(vectors: Sequence[list[float]]) -> list[list[tuple[str, float]]]:
        return [links.get("abcdef"[int(vector[0])], []) for vector in vectors]

    vectors = [(name, [float(number)]) for number, name in enumerate("abcdef")]
    assert group_duplicates(vectors, neighbours, total=6, on_progress=lambda step: None) == [
        DuplicateGroup(("a", "b", "c"), 0.95),
        DuplicateGroup(("d", "e"), 0.99),
    ]
