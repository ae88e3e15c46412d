"""The checkpoint folder: the classic sentence-transformers layout, read and written.

Written: ``modules.json`` with ``sentence_transformers.models.*``, boolean pooling modes, safetensors only,
so that sentence-transformers 5 and 6 both open it. Read: that, the form that sentence-transformers 6 writes,
and a bare transformers model (mean pooling, no normalization, as sentence-transformers does).
The modules are a transformer, a pooling, any number of Dense layers and a normalization, in this order.
What a training run was is kept beside the weights in ``cl_haystack.json``.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from cl_haystack.bundle.fingerprint import file_entry, weights_digest
from cl_haystack.bundle.manifest import Pooling, Similarity
from cl_haystack.data.datasheet import read_datasheet
from cl_haystack.errors import CheckpointError
from cl_haystack.training.dense import DenseLayer, read_dense, write_dense_config

TRAINING_FILE = "cl_haystack.json"
_SBERT_FILE = "sentence_bert_config.json"
_SBERT_FILES = (  # that sentence-transformers looks for, in its order; the old ones name an architecture
    _SBERT_FILE,
    *(
        f"sentence_{name}_config.json"
        for name in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)
_SUPPORTED = "Transformer, Pooling, any number of Dense, Normalize, in this order"
_DOCUMENT_PROMPT_NAMES = ("document", "passage", "corpus")  # in the order sentence-transformers tries them
_POOLING_FLAGS: dict[str, str] = {  # in the order in which the classic layout concatenates
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
# RoBERTa's positions begin behind the padding's index: of 514, a text can have 512.
_COUNTS_FROM_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl", "data2vec-text")
_ORDER = ("Transformer", "Pooling", "Dense", "Normalize")
_NO_LIMIT = 100_000  # tokenizers without a limit state a huge number


@dataclass(frozen=True)
class CheckpointLayout:
    """What a checkpoint's configuration files say beside the weights.

    :param transformer: folder of the transformer's weights, config and tokenizer.
    :param pooling: how token embeddings become one.
    :param dense: layers that the pooled embedding passes, first one first.
    :param truncate_dim: how many leading dimensions a vector keeps (Matryoshka); None keeps all.
    :param normalize: whether vectors are scaled to unit length, as the last step.
    :param max_length: length limit in tokens; None where no file states one.
    :param lower_case: whether texts are lower-cased before the tokenizer sees them.
    :param query_prefix: put before every query.
    :param document_prefix: put before every document.
    :param similarity: how vectors are compared.
    :param embeds_texts: whether it was made to embed texts; a transformers folder alone is a language model.
    :param training: the training run, as :data:`TRAINING_FILE` tells it; empty for foreign checkpoints.
    """

    transformer: Path
    pooling: Pooling = "mean"
    dense: tuple[DenseLayer, ...] = ()
    truncate_dim: int | None = None
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False
    query_prefix: str = ""
    document_prefix: str = ""
    similarity: Similarity = "cosine"
    embeds_texts: bool = True
    training: dict[str, Any] = field(default_factory=dict)


def read_layout(checkpoint: Path) -> CheckpointLayout:
    """Read the configuration files of a checkpoint.

    :param checkpoint: a sentence-transformers folder (classic or version 6) or a transformers folder.
    :returns: what they say.
    :raises CheckpointError: the folder is no checkpoint, or has modules or weights that are not supported.
    """
    if not checkpoint.is_dir():
        raise CheckpointError(checkpoint, "no such checkpoint directory")
    training = _read_training(checkpoint / TRAINING_FILE)
    modules_file = checkpoint / "modules.json"
    if not modules_file.exists():
        if not (checkpoint / "config.json").exists():
            raise CheckpointError(
                checkpoint, "is no checkpoint: it holds neither modules.json nor config.json"
            )
        return CheckpointLayout(
            transformer=checkpoint,
            max_length=_max_length(checkpoint),
            embeds_texts=False,
            training=training,
        )
    modules = [(_kind(module), checkpoint / module["path"]) for module in _read_json(modules_file)]
    _check_order(modules_file, [kind for kind, _ in modules])
    folders = dict(modules)  # of the modules that occur once
    config = _read_json(checkpoint / "config_sentence_transformers.json", default={})
    prompts = config.get("prompts") or {}
    query_prefix = prompts.get("query") or ""
    document_prefix = next((prompts[n] for n in _DOCUMENT_PROMPT_NAMES if prompts.get(n)), "")
    pooling = folders.get("Pooling")
    return CheckpointLayout(
        transformer=folders["Transformer"],
        pooling=_read_pooling(pooling / "config.json", query_prefix + document_prefix) if pooling else "mean",
        dense=tuple(
            read_dense(folder, _read_json(folder / "config.json"))
            for kind, folder in modules
            if kind == "Dense"
        ),
        truncate_dim=config.get("truncate_dim"),
        normalize="Normalize" in folders,
        max_length=_max_length(folders["Transformer"]),
        lower_case=bool(_text_options(folders["Transformer"]).get("do_lower_case")),
        query_prefix=query_prefix,
        document_prefix=document_prefix,
        similarity=_read_similarity(checkpoint, config),
        training=training,
    )


def space_weights(layout: CheckpointLayout) -> str:
    """Return the digest of everything trained that a vector depends on, for the ``space_id``.

    Without Dense layers it is the transformer's own :func:`~cl_haystack.bundle.fingerprint.weights_digest`.

    :param layout: a checkpoint that lies on disk.
    :returns: 64 hexadecimal digits.
    :raises CheckpointError: weights are missing or damaged.
    """
    transformer = weights_digest(layout.transformer)
    if not layout.dense:
        return transformer
    layers = [f"{layer.activation} {weights_digest(layer.folder)}" for layer in layout.dense if layer.folder]
    return hashlib.sha256("\n".join([transformer, *layers]).encode()).hexdigest()


def is_checkpoint(path: Path) -> bool:
    """Tell whether a path is a folder with a checkpoint, or an empty one."""
    return path.is_dir() and (
        any((path / name).exists() for name in ("modules.json", "config.json")) or not any(path.iterdir())
    )


def describe_dataset(path: Path, *, licence: str = "") -> dict[str, Any]:
    """Return what provenance needs to know of a file of training pairs: name, hash, size, licence, datasheet.

    :param path: the file.
    :param licence: its licence; empty takes the datasheet's.
    :returns: plain values for the checkpoint.
    :raises DataError: the datasheet beside the file is broken.
    """
    entry, sheet = file_entry(path), read_datasheet(path)
    facts: dict[str, Any] = {"path": path.name, "sha256": entry.sha256, "bytes": entry.bytes}
    if sheet is None:
        return facts | {"licence": licence}
    told = sheet.model_dump(mode="json", exclude={"format", "sha256", "bytes"})
    return facts | {"licence": licence or sheet.licence, "source": sheet.source, "datasheet": told}


def dense_folder(checkpoint: Path, position: int) -> Path:
    """Return the folder of a checkpoint's Dense layer, counted from 0."""
    return checkpoint / f"{2 + position}_Dense"


def write_layout(checkpoint: Path, layout: CheckpointLayout, *, hidden_size: int) -> None:
    """Write the classic configuration files into a folder that already holds the transformer.

    :param checkpoint: the folder.
    :param layout: what to state.
    :param hidden_size: length of a token embedding.
    """
    modules = [("Transformer", checkpoint), ("Pooling", checkpoint / "1_Pooling")]
    modules += [("Dense", dense_folder(checkpoint, i)) for i in range(len(layout.dense))]
    if layout.normalize:
        modules.append(("Normalize", checkpoint / f"{len(modules)}_Normalize"))
    entries = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if folder == checkpoint else folder.name,
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, (kind, folder) in enumerate(modules)
    ]
    for _, folder in modules:
        folder.mkdir(exist_ok=True)
    _write_json(checkpoint / "modules.json", entries)
    _write_json(checkpoint / "1_Pooling" / "config.json", _pooling_config(layout.pooling, hidden_size))
    for i, layer in enumerate(layout.dense):
        write_dense_config(dense_folder(checkpoint, i), layer)
    _write_json(
        checkpoint / _SBERT_FILE,
        {"max_seq_length": layout.max_length, "do_lower_case": layout.lower_case},
    )
    truncation = {} if layout.truncate_dim is None else {"truncate_dim": layout.truncate_dim}
    _write_json(
        checkpoint / "config_sentence_transformers.json",
        {
            "prompts": {"query": layout.query_prefix, "document": layout.document_prefix},
            "default_prompt_name": None,
            "similarity_fn_name": layout.similarity,
            **truncation,
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
            _replace(target, draft)
        else:
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(target: Path, draft: Path) -> None:
    """Put ``draft`` in place of ``target``; where that fails, ``target`` is what it was."""
    outdated = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    old = outdated / "old"
    try:
        target.rename(old)
        draft.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        outdated.rmdir()
        raise
    shutil.rmtree(outdated)


def _kind(module: dict[str, Any]) -> str:
    return str(module["type"]).rsplit(".", 1)[-1]


def _check_order(modules_file: Path, kinds: list[str]) -> None:
    ordered = sorted(kinds, key=lambda kind: _ORDER.index(kind) if kind in _ORDER else len(_ORDER))
    repeated = any(kinds.count(kind) > 1 for kind in _ORDER if kind != "Dense")
    if kinds[:1] != ["Transformer"] or not set(kinds) <= set(_ORDER) or kinds != ordered or repeated:
        raise CheckpointError(modules_file, f"lists {', '.join(kinds)}; supported are {_SUPPORTED}")


def _read_pooling(file: Path, prefixes: str) -> Pooling:
    config = _read_json(file)
    if config.get("include_prompt") is False and prefixes:
        raise CheckpointError(file, "leaves prompts out of the pooling, which is not supported")
    modes = config.get("pooling_mode")  # sentence-transformers 6
    if modes is None:
        modes = [mode for mode, flag in _POOLING_FLAGS.items() if config.get(flag)] or ["mean"]
    elif isinstance(modes, str):
        modes = [modes]
    unknown = [mode for mode in modes if mode not in _POOLING_FLAGS]
    if unknown or not modes:
        raise CheckpointError(file, f"pools by {modes}; supported are {', '.join(_POOLING_FLAGS)}")
    return "+".join(modes)


def _pooling_config(pooling: Pooling, hidden_size: int) -> dict[str, Any]:
    modes = pooling.split("+")
    config: dict[str, Any] = {"word_embedding_dimension": hidden_size}
    if modes != [mode for mode in _POOLING_FLAGS if mode in modes]:
        return config | {"pooling_mode": modes}  # an order that the classic form cannot state
    return config | {flag: mode in modes for mode, flag in _POOLING_FLAGS.items()}


def _read_similarity(checkpoint: Path, config: dict[str, Any]) -> Similarity:
    name = config.get("similarity_fn_name") or "cosine"
    supported: tuple[Similarity, ...] = get_args(Similarity)
    for similarity in supported:
        if name == similarity:
            return similarity
    raise CheckpointError(checkpoint, f"compares vectors by {name!r}; supported are {', '.join(supported)}")


def _text_options(transformer: Path) -> dict[str, Any]:
    """Return what the first of sentence-transformers' files that holds anything says about texts."""
    found = (_read_json(transformer / name, default={}) for name in _SBERT_FILES)
    return next(filter(None, found), {})


def _max_length(transformer: Path) -> int | None:
    """Return the stated limit, else the smaller of the tokenizer's and the positions there are."""
    stated = _text_options(transformer).get("max_seq_length")
    if stated:
        return int(stated)
    config = _read_json(transformer / "config.json", default={})
    limits = [
        _read_json(transformer / "tokenizer_config.json", default={}).get("model_max_length"),
        usable_positions(config),
    ]
    return min((int(limit) for limit in limits if limit and limit < _NO_LIMIT), default=None)


def usable_positions(config: dict[str, Any]) -> int | None:
    """Return how many tokens a transformer has positions for.

    :param config: the content of its ``config.json``.
    :returns: the number; None where positions have no limit.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions < 1:
        return None
    if config.get("model_type") in _COUNTS_FROM_PADDING:
        return positions - int(config.get("pad_token_id") or 0) - 1
    return positions


def _read_json(file: Path, default: Any = None) -> Any:
    if default is not None and not file.exists():
        return default
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(file, f"cannot be read ({error})") from error
    if default is not None and not isinstance(content, type(default)):
        raise CheckpointError(file, f"holds a JSON {type(content).__name__}, expected an object")
    return content


def _read_training(file: Path) -> dict[str, Any]:
    """Read the provenance, as far as others rely on its form; what a run says beyond is its own affair."""
    training: dict[str, Any] = _read_json(file, default={})
    datasets = training.get("datasets", [])
    objects = {name: training.get(name, {}) for name in ("base_model", "loss")}
    if isinstance(datasets, list):
        objects |= {f"datasets[{i}]": dataset for i, dataset in enumerate(datasets)}
    else:
        raise CheckpointError(file, f"datasets is a JSON {type(datasets).__name__}, expected a list")
    for name, value in objects.items():
        if not isinstance(value, dict):
            raise CheckpointError(file, f"{name} is a JSON {type(value).__name__}, expected an object")
    trained = objects["loss"].get("dimensions", [])
    if not isinstance(trained, list) or not all(type(size) is int and size > 0 for size in trained):
        raise CheckpointError(file, "loss.dimensions is no list of whole numbers above 0")
    return training


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
