"""The bundle's README: what the model is, where it comes from and what was measured."""

from cl_haystack.bundle import Manifest
from cl_haystack.bundle.manifest import Parity, Quality

_TEMPLATE = """\
# {name}

A text encoder for retrieval: {dimension} dimensions, {pooling} pooling, compared by {similarity}.
Texts are cut after {max_length} tokens. Query prefix: {query_prefix!r}; document prefix: {document_prefix!r}.

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

## Identity

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
        **manifest.text.model_dump(),
        measured=_measured(manifest.parity, manifest.quality),
        space_id=manifest.space_id,
        fingerprint=manifest.fingerprint,
        precision=manifest.numerics.precision,
        scheme=manifest.numerics.scheme,
        base_model=training.get("base_model", {}).get("name", "this checkpoint itself"),
        loss=training.get("loss", {}).get("name", "not fine-tuned here"),
        datasets="; ".join(datasets) or "none stated",
        producer=", ".join(f"{package} {version}" for package, version in manifest.producer.items()),
    )


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
