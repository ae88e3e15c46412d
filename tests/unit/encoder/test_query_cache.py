"""The cache of queries against a list searched from its end."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.encoder.query_cache import QueryCache


@given(st.integers(0, 4), st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=3), max_size=30))
def test_the_last_used_are_kept(size: int, calls: list[list[str]]) -> None:
    cache, used = QueryCache(size), []
    for texts in calls:
        found = cache.find(texts)
        assert set(found) == set(texts) & set(used)
        assert all(row[0] == ord(text) for text, row in found.items())
        used = [text for text in used if text not in found] + list(found)
        new = [text for text in dict.fromkeys(texts) if text not in found]
        cache.keep((text, np.array([ord(text)], dtype=np.float32)) for text in new)
        used = (used + new)[len(used + new) - min(size, len(used + new)) :]


def test_long_texts_are_not_kept() -> None:
    cache = QueryCache(5)
    cache.keep([("x" * 100_000, np.zeros(1, dtype=np.float32))])
    assert not cache.find(["x" * 100_000])
