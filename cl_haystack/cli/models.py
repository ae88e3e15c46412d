"""A model on the command line: a bundle or a checkpoint, told apart by what lies in its folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_haystack.bundle import ModelBundle
    from cl_haystack.encoder import Encoder, TextEncoder
    from cl_haystack.opensearch import OpenSearchIndex

_BUNDLE_MARK = "manifest.json"
_CHECKPOINT_MARKS = ("modules.json", "config.json")


def describe_model(model: str) -> str:
    """Say which model was used, exactly, for whoever reads a report later.

    :param model: what :func:`open_model` has opened.
    :returns: the model as it was named, with space and fingerprint where it is a bundle.
    """
    from cl_haystack.bundle import ModelBundle

    if not _is_bundle(Path(model)):  # a checkpoint, or a run file
        return model
    bundle = ModelBundle.load(model, verify=False)
    return f"{model} (space {bundle.space_id}, fingerprint {bundle.fingerprint})"


def open_model(model: str) -> "tuple[TextEncoder, str]":
    """Open a bundle or a checkpoint.

    :param model: a folder, a packed bundle, or a name that training knows a checkpoint by.
    :returns: its encoder, and its name for people.
    :raises BundleError: the folder is a bundle that cannot be used.
    :raises CheckpointError: there is no such model, or the folder holds none.
    :raises MissingExtraError: it is a checkpoint, and torch is not installed.
    """
    from cl_haystack.encoder import Encoder
    from cl_haystack.errors import CheckpointError, MissingExtraError

    path = Path(model)
    if _is_bundle(path):
        encoder = Encoder.load(path)
        bundle = encoder.bundle
        return encoder, f"{bundle.name} (space {bundle.space_id[:8]}, {bundle.precision})"
    if path.exists() and not any((path / mark).is_file() for mark in _CHECKPOINT_MARKS):
        expected = f"expected {_BUNDLE_MARK} (a bundle) or {_CHECKPOINT_MARKS[0]} (a checkpoint) in it"
        raise CheckpointError(path, f"is no model: {expected}; check the path")
    try:
        from cl_haystack.training.model import SentenceEncoder
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from None
    return SentenceEncoder.load(model), path.name or model


def told_apart(labels: Sequence[str], models: Sequence[str]) -> list[str]:
    """Return labels of which no two are equal, so that neither tables nor sentences confuse two models.

    :param labels: what each model is called.
    :param models: how each was named on the command line.
    :returns: the labels, with that name where another has the same; numbered where that is the same, too.
    """
    found = [
        label if labels.count(label) == 1 else model if model.endswith(label) else f"{label} from {model}"
        for label, model in zip(labels, models, strict=True)
    ]
    return [
        label if found.count(label) == 1 else f"{label} ({found[: place + 1].count(label)})"
        for place, label in enumerate(found)
    ]


def is_run_file(model: str) -> bool:
    """Say whether this is a file that holds no model: then it must be a run.

    :param model: as it was named.
    :returns: True for a file that is no packed bundle.
    """
    path = Path(model)
    return path.is_file() and not _is_bundle(path)


def training_of(encoder: "TextEncoder | None") -> dict[str, str]:
    """Say what a model was trained on.

    :param encoder: what :func:`open_model` has opened; None for a run file.
    :returns: one line a fact; none where the model does not tell.
    """
    from cl_haystack.evaluation.retrieval_report import describe_training

    return describe_training(_provenance(encoder))


def was_trained_on(encoder: "TextEncoder", pairs: Path) -> bool:
    """Tell whether a model was trained on a file of pairs, on what was made of it, or what it was made of.

    :param encoder: what :func:`open_model` has opened.
    :param pairs: the file.
    :returns: False also where the model does not tell.
    :raises DataError: the file cannot be read, or its datasheet is broken.
    """
    from cl_haystack.bundle.fingerprint import file_entry
    from cl_haystack.data.datasheet import read_datasheet

    sheet = read_datasheet(pairs)
    own = file_entry(pairs).sha256
    related = {own, *(source.sha256 for source in sheet.inputs)} if sheet else {own}
    for dataset in datasets_of(_provenance(encoder)):
        inputs = mapping(dataset.get("datasheet")).get("inputs")
        made_of = [mapping(source).get("sha256") for source in inputs] if isinstance(inputs, list) else []
        if dataset.get("sha256") in related or own in made_of:
            return True
    return False


def datasets_of(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a model says of its training data, a data set each; anybody may have written it.

    :param training: the provenance of a bundle or a checkpoint.
    :returns: facts by name.
    """
    datasets = training.get("datasets")
    return [mapping(data) for data in datasets] if isinstance(datasets, list) else []


def mapping(value: Any) -> dict[str, Any]:
    """Return a value that should be facts by name; none where it is something else."""
    return value if isinstance(value, dict) else {}


def _provenance(encoder: "TextEncoder | None") -> Mapping[str, Any]:
    from cl_haystack.encoder import Encoder

    if isinstance(encoder, Encoder):
        return encoder.bundle.manifest.training
    layout = getattr(encoder, "layout", None)  # a checkpoint's; its class would bring torch
    return layout.training if layout else {}


def graph_bytes(encoder: "TextEncoder | None") -> int | None:
    """Return the size of a bundle's graph.

    :param encoder: what :func:`open_model` has opened.
    :returns: bytes; None for a checkpoint.
    """
    from cl_haystack.bundle.manifest import MODEL_FILE
    from cl_haystack.encoder import Encoder

    return encoder.bundle.manifest.files[MODEL_FILE].bytes if isinstance(encoder, Encoder) else None


def _is_bundle(path: Path) -> bool:
    from cl_haystack.bundle.packing import is_packed

    return (path / _BUNDLE_MARK).is_file() or is_packed(path)


@contextmanager
def open_index(name: str, url: str | None, bundle: "ModelBundle") -> Iterator["OpenSearchIndex"]:
    """Open an index with the bundle it was built with, cut to as many dimensions as the index holds.

    :param name: name of the index or alias.
    :param url: address of OpenSearch; None takes ``$OPENSEARCH_URL``.
    :param bundle: the model.
    :yields: the index, checked; closed at the end.
    :raises IndexingError: there is no such index, or it was built with another model.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    from cl_haystack.opensearch import OpenSearchIndex

    with closing(OpenSearchIndex(url, name, bundle)) as index:
        index.take_truncate_dim()
        index.check()
        yield index


def open_encoder(index: "OpenSearchIndex") -> "Encoder":
    """Open the encoder of an index's vectors.

    :param index: what :func:`open_index` has opened.
    :returns: the encoder of its bundle, of as many dimensions.
    :raises EncodingError: the bundle cannot be opened here.
    """
    from cl_haystack.encoder import Encoder

    return Encoder.load(index.bundle, truncate_dim=index.settings.truncate_dim)


@contextmanager
def open_index_of(
    name: str, url: str | None, encoder: "TextEncoder", model: str
) -> Iterator[tuple["OpenSearchIndex", "TextEncoder"]]:
    """Open the index of a model that is open already.

    :param name: name of the index or alias.
    :param url: address of OpenSearch; None takes ``$OPENSEARCH_URL``.
    :param encoder: what :func:`open_model` has opened.
    :param model: its name, for the message.
    :yields: the index, checked, and the encoder of its vectors; the index is closed at the end.
    :raises ConfigurationError: the model is a checkpoint, to which no index is bound.
    :raises IndexingError: there is no such index, or it was built with another model.
    :raises ServerUnavailableError: no usable OpenSearch answers.
    """
    from cl_haystack.encoder import Encoder
    from cl_haystack.errors import ConfigurationError

    if not isinstance(encoder, Encoder):
        problem = "an index is bound to a bundle; export the checkpoint first: cl-haystack export"
        raise ConfigurationError(f"{model} is a checkpoint, but {problem}")
    with open_index(name, url, encoder.bundle) as index:
        yield index, open_encoder(index) if index.settings.truncate_dim else encoder
