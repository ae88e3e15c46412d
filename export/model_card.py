"""The bundle's README: what the model is, where it comes from and what was measured."""

from collections.abc import Mapping
from typing import Any

from cl_haystack.bundle import Manifest
from cl_haystack.bundle.manifest import Parity, Quality

_TEMPLATE = """\
# {name}

A text encoder for retrieval: {dimension} dimensions, {pooling} pooling, compared by {similarity}.
Texts are cut after {max_length} tokens. Query prefix: {query_prefix}; document prefix: {document_prefix}.

```python
from cl_haystack import Encoder

encoder = Encoder.load("path/to/this/folder")
vectors = encoder.encode_queries(["a question"])
```

## Measured

{measured}

## Where it comes from

| | |
|---|---|
| base model | {base_model} |
| loss | {loss} |
| training data | {datasets} |

{datasheets}## Identity

| | |
|---|---|
| space | `{space_id}` |
| fingerprint | `{fingerprint}` |
| precision | {precision} ({scheme}) |
| made with | {producer} |

Vectors of bundles with the same space can be compared, whatever their precision.
"""


def write_model_card(manifest: Manifest) -> str:
    """Return the model card as Markdown.

    :param manifest: the bundle's manifest, complete.
    :returns: the text of ``README.md``.
    """
    training = manifest.training
    datasets = [
        f"{dataset.get('path') or dataset.get('name')} ({dataset.get('licence') or 'licence not stated'})"
        for dataset in training.get("datasets", [])
    ]
    return _TEMPLATE.format(
        name=manifest.name,
        **manifest.embedding.model_dump(),
        max_length=manifest.text.max_length,
        query_prefix=_prefix(manifest.text.query_prefix),
        document_prefix=_prefix(manifest.text.document_prefix),
        measured=_measured(manifest.parity, manifest.quality),
        space_id=manifest.space_id,
        fingerprint=manifest.fingerprint,
        precision=manifest.numerics.precision,
        scheme=manifest.numerics.scheme,
        base_model=training.get("base_model", {}).get("name", "this checkpoint itself"),
        loss=training.get("loss", {}).get("name", "not fine-tuned here"),
        datasets="; ".join(datasets) or "none stated",
        datasheets="".join(map(_datasheet, training.get("datasets", []))),
        producer=", ".join(f"{package} {version}" for package, version in manifest.producer.items()),
    )


def _prefix(text: str) -> str:
    return repr(text) if text else "none"


def _datasheet(dataset: Mapping[str, Any]) -> str:
    """Return what the pairs' own sheet says, as a table; nothing where they have none."""
    sheet = dataset.get("datasheet")
    if not isinstance(sheet, dict):
        return ""
    facts = {
        "made by": sheet.get("method"),
        "source": sheet.get("source"),
        "licence": dataset.get("licence"),
        "judged by": sheet.get("judged_by"),
        "time": " to ".join(filter(None, (sheet.get("since"), sheet.get("until")))),
        "pairs": f"{sheet.get('num_pairs', 0):,}",
        "made of": ", ".join(entry["name"] for entry in sheet.get("inputs", ())),
        "curated by": ", ".join(step["name"] for step in sheet.get("curation", ())),
    }
    rows = "".join(f"| {name} | {_cell(value)} |\n" for name, value in facts.items())
    return f"### {_cell(dataset.get('path') or dataset.get('name'))}\n\n| | |\n|---|---|\n{rows}\n"


def _cell(value: object) -> str:
    return " ".join(str(value or "not stated").split()).replace("|", "\\|")


def _measured(parity: Parity | None, quality: tuple[Quality, ...]) -> str:
    rows: list[tuple[str, str]] = []
    if parity is not None:
        rows += [
            ("cosine to the torch model, lowest", f"{parity.cosine_min:.6f}"),
            ("cosine to the torch model, mean", f"{parity.cosine_mean:.6f}"),
            ("ten nearest texts that both find", f"{parity.top10_overlap:.1%}"),
        ]
    if parity is not None and parity.score_change_max is not None:
        rows.append(("largest change of a score between two texts", f"{parity.score_change_max:.6f}"))
    rows += [(f"{figure.metric} on {figure.dataset}", _figure(figure)) for figure in quality]
    if not rows:
        return "Nothing."
    told = "" if parity is None else f"\n\nThe first rows are over {parity.texts} texts of all lengths."
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]) + told


def _figure(figure: Quality) -> str:
    interval = "" if figure.ci95 is None else f" [{figure.ci95[0]:.4f}, {figure.ci95[1]:.4f}]"
    before = "" if figure.before is None else f"; the torch model {figure.before:.4f}"
    return f"{figure.value:.4f}{interval}{before}"
