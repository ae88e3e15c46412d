"""Distribution of a model's scores, one pair of texts at a time."""

from collections.abc import Sequence

import numpy as np


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    product = sum(float(x) * float(y) for x, y in zip(left, right, strict=True))
    norms = sum(float(x) ** 2 for x in left) ** 0.5 * sum(float(y) ** 2 for y in right) ** 0.5
    return product / norms


def similarities(
    texts: Sequence[tuple[str, str]],
    anchors: Sequence[Sequence[float]],
    positives: Sequence[Sequence[float]],
    batch_size: int,
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"positives": [], "in_batch_negatives": [], "random_pairs": []}
    for i, (anchor, positive) in enumerate(texts):
        found["positives"].append(cosine(anchors[i], positives[i]))
        in_batch = []
        for j, (other_anchor, other_positive) in enumerate(texts):
            if i == j or anchor == other_anchor or positive == other_positive:
                continue
            similarity = cosine(anchors[i], positives[j])
            found["random_pairs"].append(similarity)
            if i // batch_size == j // batch_size:
                in_batch.append(similarity)
        if in_batch:
            found["in_batch_negatives"].append(max(in_batch))
    return found


def summary(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    named = {f"p{p}": float(np.percentile(values, p)) for p in (1, 5, 25, 50, 75, 95, 99)}
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), **named}
