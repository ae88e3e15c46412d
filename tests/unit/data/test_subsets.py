"""Parts of pairs: nothing held out is trained on, and small subsets lie within larger ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_haystack.data import Pair
from cl_haystack.data.normalization import normalized
from cl_haystack.data.subsets import nested_subsets, split_pairs
from cl_haystack.errors import ConfigurationError

texts = st.sampled_from([f"text {number}" for number in range(12)])
pairs_lists = st.lists(
    st.builds(Pair, anchor=texts, positive=texts, negatives=st.lists(texts, max_size=2).map(tuple)),
    max_size=30,
)


@given(pairs_lists, st.sampled_from(["document", "query"]), st.integers(0, 5))
def test_no_held_out_text_is_trained_on(pairs, by, seed):
    try:
        train, held_out, neither = split_pairs(pairs, by=by, fraction=0.3, seed=seed)
    except ConfigurationError:  # all pairs are in one part
        return
    assert len(train) + len(held_out) + neither == len(pairs)
    kept = {normalized(text) for pair in held_out for text in (pair.anchor, pair.positive)}
    assert not [p for p in train if kept & {normalized(t) for t in (p.anchor, p.positive, *p.negatives)}]


@given(pairs_lists, st.lists(st.integers(1, 20), min_size=2, max_size=4, unique=True))
def test_subsets_are_nested_and_have_their_sizes(pairs, sizes):
    subsets = nested_subsets(pairs, sizes)
    ids = {size: {id(pair) for pair in subset} for size, subset in subsets.items()}
    for small in sizes:
        assert len(subsets[small]) == min(small, len(pairs))
        assert all(ids[small] <= ids[large] for large in sizes if large > small)


def test_a_subset_depends_on_the_seed_and_not_on_the_order():
    pairs = [Pair(anchor=f"a{number}", positive="p") for number in range(50)]
    drawn = [{p.anchor for p in nested_subsets(part, [10])[10]} for part in (pairs, pairs[::-1])]
    assert drawn[0] == drawn[1] != {p.anchor for p in nested_subsets(pairs, [10], seed=1)[10]}


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigurationError, match="cannot split by 'colour'; expected one of document, query"):
        split_pairs([Pair(anchor="a", positive="b")], by="colour")
    with pytest.raises(ConfigurationError, match=r"sizes are \[0\]"):
        nested_subsets([], [0])
