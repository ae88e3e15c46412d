"""The training pairs nearest to a decision, against comparing with each."""

import numpy as np

from cl_haystack.encoder import nearest_pairs as module
from cl_haystack.encoder.nearest_pairs import nearest_pairs


class FakeEncoder:
    """A fake encoder: a random vector a text, always the same."""

    def encode_queries(self, texts, *, on_progress=None):
        rows = [np.random.default_rng(list(text.encode())).normal(size=8) for text in texts]
        return np.array(rows, dtype=np.float32)

    encode_documents = encode_queries


def test_the_nearest_are_those_of_comparing_with_each(monkeypatch):
    monkeypatch.setattr(module, "_ENCODED_AT_ONCE", 7)  # several chunks, the last one short
    encoder = FakeEncoder()
    pairs = [(f"anchor {number}", f"text {number}") for number in range(30)]

    def cosine(one, other):
        a, b = encoder.encode_queries([one, other])
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    told = []
    own, found = nearest_pairs("query", "answer", iter(pairs), encoder, top_k=4, on_progress=told.append)
    by_hand = sorted(pairs, key=lambda pair: -(cosine("query", pair[0]) + cosine("answer", pair[1])))
    assert [(pair.anchor, pair.positive) for pair in found] == by_hand[:4]
    assert np.isclose(found[0].to_query, cosine("query", found[0].anchor), atol=1e-6)
    assert np.isclose(own, cosine("query", "answer"), atol=1e-6)
    assert [progress.done for progress in told] == [7, 14, 21, 28, 30]
