"""Randomly initialised models of the architectures that embedding models are made of, a few kilobytes each.

Each has the kind of tokenizer that the real ones have, trained on a few sentences: WordPiece, byte-level BPE,
Unigram.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

TEXTS = [
    "the cat sat on the mat",
    "Dog",
    "a red house, two blue houses and a long, long way home " * 8,
    "",
    "  white space around  ",
    "What does the query ask?",
]
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_POSITIONS = 40
MAX_LENGTH = 38  # RoBERTa's positions begin behind the padding's
_BERT_SPECIALS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ROBERTA_SPECIALS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}


def make_tiny_transformer(folder: Path, architecture: str, *, seed: int = 0) -> Path:
    """Write a transformers folder with a model of random weights and a tokenizer."""
    make_tokenizer, make_model = _ARCHITECTURES[architecture]
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    make_model(len(tokenizer), tokenizer.pad_token_id).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _word_piece(
    inputs: tuple[str, ...], specials: Mapping[str, str] = _BERT_SPECIALS
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token=specials["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=list(specials.values()))
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _finished(tokenizer, specials, inputs)


def _byte_pairs(specials: Mapping[str, str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(specials.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _finished(tokenizer, specials, ("input_ids", "attention_mask"))


def _unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = list(_ROBERTA_SPECIALS.values())
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=specials, unk_token="<unk>")
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _finished(tokenizer, _ROBERTA_SPECIALS, ("input_ids", "attention_mask"))


def _finished(
    tokenizer: Tokenizer, specials: Mapping[str, str], inputs: tuple[str, ...]
) -> PreTrainedTokenizerFast:
    first, last = specials["cls"], specials["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B {last}",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (first, last)],
    )
    names: dict[str, Any] = {f"{kind}_token": token for kind, token in specials.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=list(inputs), model_max_length=MAX_LENGTH, **names
    )


_TWO = ("input_ids", "attention_mask")
_THREE = ("input_ids", "token_type_ids", "attention_mask")
_ARCHITECTURES: Mapping[str, tuple[Callable[[], Any], Callable[[int, int], Any]]] = {
    "bert": (
        lambda: _word_piece(_THREE),
        lambda words, _: BertModel(
            BertConfig(vocab_size=words, max_position_embeddings=_POSITIONS, **_SIZES)
        ),
    ),
    "distilbert": (
        lambda: _word_piece(_TWO),
        lambda words, _: DistilBertModel(
            DistilBertConfig(
                vocab_size=words,
                max_position_embeddings=_POSITIONS,
                dim=32,
                n_layers=2,
                n_heads=4,
                hidden_dim=48,
            )
        ),
    ),
    "mpnet": (
        lambda: _word_piece(_TWO, _ROBERTA_SPECIALS),
        lambda words, pad: MPNetModel(
            MPNetConfig(vocab_size=words, pad_token_id=pad, max_position_embeddings=_POSITIONS, **_SIZES)
        ),
    ),
    "roberta": (
        lambda: _byte_pairs(_ROBERTA_SPECIALS),
        lambda words, pad: RobertaModel(
            RobertaConfig(
                vocab_size=words,
                pad_token_id=pad,
                type_vocab_size=1,
                max_position_embeddings=_POSITIONS,
                **_SIZES,
            )
        ),
    ),
    "xlm-roberta": (
        _unigram,
        lambda words, pad: XLMRobertaModel(
            XLMRobertaConfig(
                vocab_size=words,
                pad_token_id=pad,
                type_vocab_size=1,
                max_position_embeddings=_POSITIONS,
                **_SIZES,
            )
        ),
    ),
    "modernbert": (
        lambda: _byte_pairs(_BERT_SPECIALS),
        lambda words, pad: ModernBertModel(
            ModernBertConfig(
                vocab_size=words,
                pad_token_id=pad,
                cls_token_id=2,
                sep_token_id=3,
                max_position_embeddings=_POSITIONS,
                local_attention=8,  # shorter than the longest text, so that windows matter
                global_attn_every_n_layers=2,
                **_SIZES,
            )
        ),
    ),
}
ARCHITECTURES = tuple(_ARCHITECTURES)
