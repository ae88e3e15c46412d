import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_haystack.encoder.exact_search import exact_search
from tests.reference.metrics import rank_documents


@settings(deadline=None)
@given(st.data())
def test_exact_search_equals_sorting_everything(data):
    num_documents, num_queries = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    # Small whole numbers: many ties, and dot products without rounding.
    vectors = rng.integers(-2, 3, size=(num_documents, 3)).astype(np.float32)
    queries = rng.integers(-2, 3, size=(num_queries, 3)).astype(np.float32)
    ids = [str(number) for number in rng.permutation(num_documents)]
    size, top_k = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 15))
    windows = ((ids[i : i + size], vectors[i : i + size]) for i in range(0, num_documents, size))
    found = exact_search([f"q{i}" for i in range(num_queries)], queries, windows, top_k=top_k)
    for number, query in enumerate(queries):
        scores = dict(zip(ids, (vectors @ query).tolist(), strict=True))
        best = rank_documents(scores)[:top_k]
        assert list(found[f"q{number}"].items()) == [(document, scores[document]) for document in best]
