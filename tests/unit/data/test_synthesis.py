"""Questions of a fake generator: what is none, copied, repeated or finds nothing is dropped and counted."""

from collections.abc import Sequence

import numpy as np
import pytest

from cl_haystack.data import CorpusDocument
from cl_haystack.data.synthesis import SynthesisCounts, generate_with, pairs_from_generator
from cl_haystack.errors import ConfigurationError, DataError
from tests.unit.data.fake_generator import FakeChatGenerator

DOCUMENTS = [
    CorpusDocument("1", "", "heap queue algorithm smallest element first"),
    CorpusDocument("2", "", "socket server binds address port listens"),
    CorpusDocument("3", "", "weather forecast tomorrow rain wind sun"),
    CorpusDocument("4", "", "unspeakable words that a model refuses"),
    CorpusDocument("5", "", " "),
]


class FakeWordEncoder:
    """A fake encoder: one dimension a word."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = {
            word: place for place, word in enumerate(sorted({w for t in texts for w in t.split()}))
        }

    def encode_queries(self, texts, *, on_progress=None):
        vectors = np.zeros((len(texts), len(self._words)), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.strip("?").split():
                if word in self._words:
                    vectors[row, self._words[word]] = 1
        return vectors

    encode_documents = encode_queries


def test_only_questions_that_find_their_document_are_kept():
    counts = SynthesisCounts()
    encoder = FakeWordEncoder([document.content for document in DOCUMENTS])
    generate = generate_with(FakeChatGenerator())
    pairs = pairs_from_generator(
        DOCUMENTS, generate, counts, encoder=encoder, top_k=1, num_questions=2, num_rounds=1
    )
    assert [pair.document_id for pair in pairs] == ["1", "2", "3"]
    assert [(pair.anchor, pair.positive) for pair in pairs] == [
        ("Where do I read of smallest algorithm queue heap?", DOCUMENTS[0].text),
        ("Where do I read of address binds server socket?", DOCUMENTS[1].text),
        ("Where do I read of rain tomorrow forecast weather?", DOCUMENTS[2].text),
    ]
    assert counts == SynthesisCounts(
        documents=4, failures=1, questions=15, unreadable=6, repeated=2, copied=3, not_found=1, pairs=3
    )


def test_without_an_encoder_all_questions_are_kept_and_another_round_asks_for_more():
    counts = SynthesisCounts()
    pairs = pairs_from_generator(DOCUMENTS[:1], generate_with(FakeChatGenerator()), counts, num_questions=3)
    assert len(pairs) == 2
    assert counts.questions == 10  # the second round brought nothing new


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigurationError, match=r"expected \{text\} in it"):
        pairs_from_generator(DOCUMENTS, str, SynthesisCounts(), prompt="Ask {something}")
    with pytest.raises(ConfigurationError, match="object takes no known input"):
        generate_with(object())
    with pytest.raises(DataError, match="failed 2 times"):
        pairs_from_generator(DOCUMENTS[3:], generate_with(FakeChatGenerator()), SynthesisCounts())
