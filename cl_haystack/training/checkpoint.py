"""The checkpoint folder: the classic sentence-transformers layout, read and written.

Written: ``modules.json`` with ``sentence_transformers.models.*``, boolean pooling modes, safetensors only,
so that sentence-transformers 5 and 6 both open it. Read: that, the form that sentence-transformers 6 writes,
and a bare transformers model (mean pooling, no normalization, as sentence-transformers does).
What a training run was is kept beside the weights in ``cl_haystack.json``.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from cl_haystack.bundle.fingerprint import file_entry
from cl_haystack.bundle.manifest import Pooling, Similarity
from cl_haystack.errors import CheckpointError

TRAINING_FILE = "cl_haystack.json"
_DOCUMENT_PROMPT_NAMES = ("document", "passage", "corpus")  # in the order sentence-transformers tries them
_POOLING_FLAGS: dict[Pooling, str] = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ALL_POOLING_FLAGS = (
    *_POOLING_FLAGS.values(),
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
)
_FALLBACK_MAX_LENGTH = 512
_NO_LIMIT = 100_000  # tokenizers without a limit state a huge number


@dataclass(frozen=True)
class CheckpointLayout:
    """What a checkpoint's configuration files say beside the weights.

    :param transformer: folder of the transformer's weights, config and tokenizer.
    :param pooling: how token embeddings become one.
    :param normalize: whether vectors are scaled to unit length.
    :param max_length: length limit in tokens; None where no file states one.
    :param query_prefix: put before every query.
    :param document_prefix: put before every document.
    :param similarity: how vectors are compared.
    :param training: the training run, as :data:`TRAINING_FILE` tells it; empty for foreign checkpoints.
    """

    transformer: Path
    pooling: Pooling = "mean"
    normalize: bool = False
    max_length: int | None = None
    query_prefix: str = ""
    document_prefix: str = ""
    similarity: Similarity = "cosine"
    training: dict[str, Any] = field(default_factory=dict)


def read_layout(checkpoint: Path) -> CheckpointLayout:
    """Read the configuration files of a checkpoint.

    :param checkpoint: a sentence-transformers folder (classic or version 6) or a transformers folder.
    :returns: what they say.
    :raises CheckpointError: the folder is no checkpoint, or has modules that are not supported.
    """
    if not checkpoint.is_dir():
        raise CheckpointError(checkpoint, "no such checkpoint directory")
    training = _read_json(checkpoint / TRAINING_FILE, default={})
    modules_file = checkpoint / "modules.json"
    if not modules_file.exists():
        if not (checkpoint / "config.json").exists():
            raise CheckpointError(
                checkpoint, "is no checkpoint: it holds neither modules.json nor config.json"
            )
        return CheckpointLayout(transformer=checkpoint, max_length=_max_length(checkpoint), training=training)
    kinds = {_kind(module): checkpoint / module["path"] for module in _read_json(modules_file)}
    unsupported = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    if unsupported or "Transformer" not in kinds:
        raise CheckpointError(
            modules_file,
            f"lists {', '.join(kinds)}; supported are Transformer, Pooling and Normalize",
        )
    config = _read_json(checkpoint / "config_sentence_transformers.json", default={})
    prompts = config.get("prompts") or {}
    return CheckpointLayout(
        transformer=kinds["Transformer"],
        pooling=_read_pooling(kinds["Pooling"] / "config.json") if "Pooling" in kinds else "mean",
        normalize="Normalize" in kinds,
        max_length=_max_length(kinds["Transformer"]),
        query_prefix=prompts.get("query") or "",
        document_prefix=next((prompts[n] for n in _DOCUMENT_PROMPT_NAMES if prompts.get(n)), ""),
        similarity=_read_similarity(checkpoint, config),
        training=training,
    )


def is_checkpoint(path: Path) -> bool:
    """Tell whether a path is a folder with a checkpoint, or an empty one."""
    return path.is_dir() and (
        any((path / name).exists() for name in ("modules.json", "config.json")) or not any(path.iterdir())
    )


def describe_dataset(path: Path, *, licence: str = "") -> dict[str, Any]:
    """Return what provenance needs to know of a file of training pairs: name, hash, size, licence."""
    entry = file_entry(path)
    return {"path": path.name, "sha256": entry.sha256, "bytes": entry.bytes, "licence": licence}


def write_layout(checkpoint: Path, layout: CheckpointLayout, *, dimension: int) -> None:
    """Write the classic configuration files into a folder that already holds the transformer.

    :param checkpoint: the folder.
    :param layout: what to state.
    :param dimension: length of a vector.
    """
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if layout.normalize:
        modules.append(("2_Normalize", "Normalize"))
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    for path, _ in modules:
        (checkpoint / path).mkdir(exist_ok=True)
    pooling: dict[str, Any] = {"word_embedding_dimension": dimension}
    pooling |= {flag: flag == _POOLING_FLAGS[layout.pooling] for flag in _ALL_POOLING_FLAGS}
    _write_json(checkpoint / "modules.json", entries)
    _write_json(checkpoint / "1_Pooling" / "config.json", pooling)
    _write_json(
        checkpoint / "sentence_bert_config.json",
        {"max_seq_length": layout.max_length, "do_lower_case": False},
    )
    _write_json(
        checkpoint / "config_sentence_transformers.json",
        {
            "prompts": {"query": layout.query_prefix, "document": layout.document_prefix},
            "default_prompt_name": None,
            "similarity_fn_name": layout.similarity,
        },
    )
    if layout.training:
        _write_json(checkpoint / TRAINING_FILE, layout.training)


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Give a fresh folder beside ``target`` that takes its place when the block ends well.

    :param target: folder to create or replace; what it held stays until the new one is complete.
    :yields: the folder to write into.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield draft
        draft.chmod(0o755)
        if target.exists():
            outdated = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.rename(outdated / "old")
            draft.rename(target)
            shutil.rmtree(outdated)
        else:
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _kind(module: dict[str, Any]) -> str:
    return str(module["type"]).rsplit(".", 1)[-1]


def _read_pooling(file: Path) -> Pooling:
    config = _read_json(file)
    mode = config.get("pooling_mode")  # sentence-transformers 6
    if mode is None:
        modes = [flag for flag in _ALL_POOLING_FLAGS if config.get(flag)]
        names = {flag: name for name, flag in _POOLING_FLAGS.items()}
        mode = names.get(modes[0], modes[0]) if len(modes) == 1 else "+".join(modes)
    supported: tuple[Pooling, ...] = get_args(Pooling)
    for pooling in supported:
        if mode == pooling:
            return pooling
    raise CheckpointError(file, f"pools by {mode!r}; supported are {', '.join(supported)}")


def _read_similarity(checkpoint: Path, config: dict[str, Any]) -> Similarity:
    name = config.get("similarity_fn_name") or "cosine"
    supported: tuple[Similarity, ...] = get_args(Similarity)
    for similarity in supported:
        if name == similarity:
            return similarity
    raise CheckpointError(checkpoint, f"compares vectors by {name!r}; supported are {', '.join(supported)}")


def _max_length(transformer: Path) -> int | None:
    """Return the stated limit: ``sentence_bert_config.json`` first, then the tokenizer's, then positions."""
    stated = [
        _read_json(transformer / "sentence_bert_config.json", default={}).get("max_seq_length"),
        _read_json(transformer / "tokenizer_config.json", default={}).get("model_max_length"),
        _read_json(transformer / "config.json", default={}).get("max_position_embeddings"),
    ]
    return next((int(limit) for limit in stated if limit and limit < _NO_LIMIT), None)


def _read_json(file: Path, default: Any = None) -> Any:
    if default is not None and not file.exists():
        return default
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(file, f"cannot be read ({error})") from error


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
