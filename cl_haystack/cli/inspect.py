"""``cl-haystack inspect``: what a bundle is and whose notion of similarity it holds, after checking it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cl_haystack.cli.console import err, out, print_json, progress_bar
from cl_haystack.cli.models import datasets_of, mapping, was_trained_on

if TYPE_CHECKING:
    from cl_haystack.bundle import Manifest
    from cl_haystack.bundle.manifest import Calibration, Parity, Quality, Threshold

_HASH_CHARS = 16
_EXCERPT_CHARS = 200
_NAME_CHARS = len("  parity with torch")


def inspect(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle: its directory or its packed file.")
    ],
    why: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar='"QUERY" "TEXT"', help="Name the training pairs that are most like both."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="PAIRS.jsonl", help="The training pairs, which --why needs.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many of them.")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifest, or the pairs, as JSON.")
    ] = False,
) -> None:
    """Verify a bundle and print its identity, provenance, parity, quality and sizes.

    [bold]Examples[/bold]

    cl-haystack inspect bundle

    cl-haystack inspect bundle.zip --json

    cl-haystack inspect bundle --why "how do I reset it" "Hold the button." --pairs pairs.jsonl
    """
    if (why is None) != (pairs is None):
        raise typer.BadParameter(
            "go together: the decision, and the pairs to look in", param_hint="--why, --pairs"
        )
    if why is not None and pairs is not None:
        _tell_why(bundle, why, pairs, top_k, as_json=as_json)
        return
    from cl_haystack.bundle import ModelBundle

    manifest = ModelBundle.load(bundle).manifest
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    for title, rows in _sections(manifest):
        table = Table.grid(padding=(0, 2))
        table.add_column(width=_NAME_CHARS)
        table.add_column(overflow="fold")
        for name, value in rows.items():
            # As Text: what a stranger wrote into a manifest is no markup.
            table.add_row(f"  {name}", Text("\n".join(map(_printable, value.split("\n")))))
        out.print(Text(title, style="bold"), table, sep="\n")


def _tell_why(bundle: Path, why: tuple[str, str], pairs: Path, top_k: int, *, as_json: bool) -> None:
    from cl_haystack.data import read_pairs
    from cl_haystack.encoder import Encoder
    from cl_haystack.encoder.nearest_pairs import nearest_pairs

    known = (
        (pair.anchor, pair.positive) for pair in read_pairs(pairs) if pair.label != 0 and pair.score != 0
    )
    with Encoder.load(bundle) as encoder, progress_bar("looking") as on_progress:
        cosine, nearest = nearest_pairs(*why, known, encoder, top_k=top_k, on_progress=on_progress)
        is_training_data = was_trained_on(encoder, pairs)
    if as_json:
        print_json({"cosine": cosine, "pairs": nearest, "trained_on_them": is_training_data})
        return
    if not is_training_data:
        note = f"note: {pairs.name} is no file that the bundle names as training data; it may explain nothing"
        err.print(note)
    out.print(Text(f"cosine of query and text: {cosine:.3f}; nearest training pairs:"), soft_wrap=True)
    table = Table("query", "text", "anchor and positive", box=None, pad_edge=False)
    for pair in nearest:
        texts = Text(f"{_printable(pair.anchor)}\n{_printable(pair.positive[:_EXCERPT_CHARS])}")
        table.add_row(f"{pair.to_query:.3f}", f"{pair.to_text:.3f}", texts)
    out.print(table)


def _sections(manifest: "Manifest") -> Iterator[tuple[str, dict[str, str]]]:
    embedding, text, graph = manifest.embedding, manifest.text, manifest.graph
    sizes = ", ".join(map(str, embedding.matryoshka_dimensions))
    yield (
        "identity",
        {
            "name": manifest.name,
            "space": manifest.space_id,
            "fingerprint": manifest.fingerprint,
            "embedding": (
                f"{embedding.dimension} dimensions, {embedding.pooling} pooling, "
                f"{'unit length' if embedding.normalize else 'not normalized'}, {embedding.similarity}"
                + (f"; may be cut to {sizes}" if sizes else "")
            ),
            "text": f"at most {text.max_length:,} tokens",
            "query prefix": repr(text.query_prefix),
            "document prefix": repr(text.document_prefix),
            "precision": (
                f"{manifest.numerics.precision} ({manifest.numerics.scheme}); a text's vector "
                f"{'does not depend' if manifest.numerics.batch_invariant else 'may depend'} on its batch"
            ),
            "graph": f"opset {graph.opset}, IR version {graph.ir_version}, inputs {', '.join(graph.inputs)}",
        },
    )
    yield "whose notion of similarity this is", _provenance(manifest.training)
    yield (
        "proof",
        {
            "parity with torch": _parity_line(manifest.parity),
            "quality": _list(map(_quality_line, manifest.quality)) or "not measured",
            **_calibration(manifest.calibration),
        },
    )
    entries, made_with = manifest.files.items(), manifest.producer.items()
    width = max(len(f"{entry.bytes:,}") for _, entry in entries)
    yield (
        "files",
        {
            name: f"{entry.bytes:>{width},} bytes, sha256 {entry.sha256[:_HASH_CHARS]}"
            for name, entry in entries
        }
        | {"made with": ", ".join(f"{name} {version}" for name, version in made_with) or "not stated"},
    )


def _provenance(training: Mapping[str, Any]) -> dict[str, str]:
    """Tell what a training says of itself. Its form is the trainer's affair, and a stranger's may be any."""
    if not training:
        return {"training": "none stated: the checkpoint was exported as it was"}
    base = mapping(training.get("base_model"))
    weights = f", weights {str(base['weights'])[:_HASH_CHARS]}" if "weights" in base else ""
    rows = {
        "base model": f"{base.get('name', 'not stated')}{weights}",
        "loss": _loss_line(mapping(training.get("loss"))),
        "data": _list(map(_dataset_line, datasets_of(training))) or "not stated",
    }
    figures = [f"{name} {training[name]}" for name in ("steps", "seed") if name in training]
    return rows | ({"run": ", ".join(figures)} if figures else {})


def _list(lines: Iterable[str]) -> str:
    """Mark where each of several begins: they may be wrapped."""
    every = list(lines)
    return "\n".join(f"- {line}" for line in every) if len(every) > 1 else "".join(every)


def _loss_line(loss: dict[str, Any]) -> str:
    stated = {key: value for key, value in loss.items() if key != "name" and value is not None}
    parameters = ", ".join(f"{key} {_plain(value)}" for key, value in stated.items())
    return f"{loss.get('name', 'not stated')}" + (f" ({parameters})" if parameters else "")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_plain, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _dataset_line(dataset: dict[str, Any]) -> str:
    facts = [
        f"{_plain(dataset['num_pairs'])} pairs" if "num_pairs" in dataset else "",
        f"{_plain(dataset['bytes'])} bytes" if "bytes" in dataset else "no file",
        f"sha256 {str(dataset['sha256'])[:_HASH_CHARS]}" if "sha256" in dataset else "",
        f"from {dataset['source']}" if dataset.get("source") else "",
        f"licence {dataset['licence']}" if dataset.get("licence") else "licence not stated",
    ]
    sheet = mapping(dataset.get("datasheet"))
    facts += [f"made by {sheet['method']}"] if sheet.get("method") else []
    facts += [f"judged by {sheet['judged_by']}"] if sheet.get("judged_by") else []
    name = dataset.get("path") or dataset.get("name") or "unnamed"
    return f"{name}: {', '.join(filter(None, facts))}"


def _parity_line(parity: "Parity | None") -> str:
    if parity is None:
        return "not measured"
    change = parity.score_change_max
    return (
        f"cosine ≥ {parity.cosine_min:.6f}, mean {parity.cosine_mean:.6f}, top-10 overlap "
        f"{parity.top10_overlap:.3f}"
        + (f", scores change by at most {change:.6f}" if change is not None else "")
        + f", on {parity.texts:,} texts"
    )


def _quality_line(quality: "Quality") -> str:
    interval = f" [{quality.ci95[0]:.4f}, {quality.ci95[1]:.4f}]" if quality.ci95 else ""
    before = quality.before
    gain = "" if before is None else f"; before {before:.4f}, change {quality.value - before:+.4f}"
    return f"{quality.dataset}: {quality.metric} {quality.value:.4f}{interval}{gain}"


def _calibration(calibration: "Calibration") -> dict[str, str]:
    rows = {"int8 scale": f"{calibration['int8_scale']:.6g}"} if "int8_scale" in calibration else {}
    if thresholds := calibration.get("thresholds"):
        rows["thresholds"] = _list(_threshold_line(*named) for named in thresholds.items())
    return rows


def _threshold_line(name: str, threshold: "Threshold") -> str:
    low, high = threshold.precision_ci95
    return (
        f"{name}: score ≥ {threshold.score:.4f}, precision {threshold.precision:.3f} [{low:.3f}, {high:.3f}] "
        f"for {threshold.wanted_precision:.3f} wanted, recall {threshold.recall:.3f}, "
        f"on {threshold.pairs:,} pairs of {threshold.dataset}"
    )


def _printable(line: str) -> str:
    """Escape what would move a terminal's cursor, change its colours or reverse its text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
