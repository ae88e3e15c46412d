"""The bundle's README: what the model is, where it comes from and what was measured."""

from cl_haystack.bundle import Manifest

_TEMPLATE = """\
# {name}

A text encoder for retrieval: {dimension} dimensions, {pooling} pooling, compared by {similarity}.
Texts are cut after {max_length} tokens. Query prefix: {query_prefix!r}; document prefix: {document_prefix!r}.

```python
from cl_haystack import Encoder

encoder = Encoder.load("path/to/this/folder")
vectors = encoder.encode_queries(["a question"])
```

| | |
|---|---|
| space | `{space_id}` |
| fingerprint | `{fingerprint}` |
| precision | {precision} ({scheme}) |
| parity with torch | {parity} |
| base model | {base_model} |
| loss | {loss} |
| training data | {datasets} |
"""


def write_model_card(manifest: Manifest) -> str:
    """Return the model card as Markdown.

    :param manifest: the bundle's manifest, complete.
    :returns: the text of ``README.md``.
    """
    training, parity = manifest.training, manifest.parity
    datasets = [
        f"{dataset.get('path') or dataset.get('name')} ({dataset.get('licence') or 'licence not stated'})"
        for dataset in training.get("datasets", [])
    ]
    return _TEMPLATE.format(
        name=manifest.name,
        **manifest.embedding.model_dump(),
        **manifest.text.model_dump(),
        space_id=manifest.space_id,
        fingerprint=manifest.fingerprint,
        precision=manifest.numerics.precision,
        scheme=manifest.numerics.scheme,
        parity=f"cosine ≥ {parity.cosine_min:.6f} on {parity.texts} texts" if parity else "not measured",
        base_model=training.get("base_model", {}).get("name", "this checkpoint itself"),
        loss=training.get("loss", {}).get("name", "not fine-tuned here"),
        datasets="; ".join(datasets) or "none stated",
    )
