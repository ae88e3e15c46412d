"""The character cut against tokenizing the whole text, for the three families of tokenizers."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from cl_haystack.encoder import tokenization
from cl_haystack.encoder.tokenization import TextTokenizer

MAX_LENGTH = 8
CORPUS = [
    "the cat sat on the mat",
    "don't stop 12345 times",
    "日本語のテキスト",
    "a  b   c",
    "Ærøskøbing é",
] * 20
SPECIAL = ["[CLS]", "[SEP]", "[UNK]", "[MASK]", "<|very|long|special|token|>"]


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL))
    return tokenizer


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=350, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentence_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="[UNK]")
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


FAMILIES = {"WordPiece": word_piece, "byte-level BPE": byte_level, "SentencePiece": sentence_piece}


@pytest.fixture(scope="module", params=FAMILIES)
def serialized(request: pytest.FixtureRequest) -> str:
    tokenizer = FAMILIES[request.param]()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer.to_str()


def whole_text_ids(serialized: str, text: str) -> list[int]:
    """The definition: tokenize everything, keep the first."""
    return list(Tokenizer.from_str(serialized).encode(text).ids[:MAX_LENGTH])


SPACES = [" ", "   ", "\n\n", "\t", "\u3000", "\u200b", "\x00"]
WORDS = [
    "cat",
    "the ",
    "don't",
    "'",
    "123456789",
    "日本語",
    "é",
    "e\u0301",
    "\u0301",
    "!?",
    "ﬃ",
    "👩\u200d👧",
]
LONG = ["a" * 40, "x" * 150, "b" * 99, "<|very|long|special|token|>", "[MASK]"]
pieces = st.sampled_from(SPACES + WORDS + LONG)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=120), st.integers(0, 140))
def test_a_cut_changes_no_token(serialized: str, parts: list[str], shift: int) -> None:
    text = "z" * (shift % 7) + " " * (shift % 3) + "".join(parts)
    tokenizer = TextTokenizer(Tokenizer.from_str(serialized), MAX_LENGTH)
    expected = whole_text_ids(serialized, text)
    assert tokenizer.tokenize([text])[0].ids == expected  # one text and several take different ways
    assert [tokenized.ids for tokenized in tokenizer.tokenize([text, text])] == [expected, expected]


def test_long_texts_without_whitespace_are_cut_where_words_are_short(
    serialized: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    encode = TextTokenizer._encode
    monkeypatch.setattr(
        TextTokenizer,
        "_encode",
        lambda self, texts, **how: seen.extend(map(len, texts)) or encode(self, texts, **how),
    )
    texts = ["12,ab;" * 8_000, "12;ab," * 9_000, "short"]
    tokenizer = TextTokenizer(Tokenizer.from_str(serialized), MAX_LENGTH)
    expected = [whole_text_ids(serialized, text) for text in texts]
    assert [tokenized.ids for tokenized in tokenizer.tokenize(texts)] == expected
    is_one_word = "Metaspace" in serialized
    assert seen == [128, 128, 5, *([48_000, 54_000] if is_one_word else [])]


@pytest.mark.parametrize("unit", ["x", "\n", "the cat ", "日", "é", "!", "\x00", "\ud83d", "don't\u00a0"])
def test_ten_megabytes_are_read_to_the_documented_limit(serialized: str, unit: str) -> None:
    tokenizer = TextTokenizer(Tokenizer.from_str(serialized), MAX_LENGTH)
    text = unit * (10_000_000 // len(unit))
    read = text[: tokenization._MAX_CHARS].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    started = time.thread_time()
    tokens = tokenizer.tokenize([text])[0].ids
    own_seconds = time.thread_time() - started
    assert tokens == whole_text_ids(serialized, read)
    assert own_seconds < 0.5  # 50 ms on a quiet machine; the whole text would take 8 s
