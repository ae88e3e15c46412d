"""A randomly initialised BERT of a few kilobytes: a real checkpoint for tests that need no sense."""

import string
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

from cl_haystack.training.checkpoint import CheckpointLayout
from cl_haystack.training.model import SentenceEncoder

WORDS = ["the", "cat", "dog", "sat", "on", "mat", "red", "blue", "house", "runs", "query", "passage", ":"]
LAYOUT = CheckpointLayout(transformer=Path(), pooling="mean", normalize=True, max_length=16)


def make_tiny_encoder(folder: Path, *, seed: int = 0, **layout: object) -> SentenceEncoder:
    """Make an encoder of 16 dimensions whose tokenizer knows a dozen words and all letters."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
    words = BertWordPieceTokenizer({word: i for i, word in enumerate(vocabulary)}, lowercase=True)
    tokenizer = BertTokenizerFast(tokenizer_object=words._tokenizer, do_lower_case=True)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    config._attn_implementation = "eager"
    return SentenceEncoder(BertModel(config).eval(), tokenizer, replace(LAYOUT, **layout)).eval()  # type: ignore[arg-type]


def make_tiny_checkpoint(folder: Path, *, seed: int = 0, **layout: object) -> Path:
    """Write that encoder in the classic sentence-transformers layout."""
    make_tiny_encoder(folder / "raw", seed=seed, **layout).save(folder / "checkpoint", training={})
    return folder / "checkpoint"
