"""Losses straight from their formulas: Python loops, float64, no tricks."""

import math

import numpy as np


def info_nce(anchors: np.ndarray, candidates: np.ndarray, scale: float) -> float:
    """Mean over anchors of -log(exp(s * a.p) / sum over candidates of exp(s * a.c))."""
    total = 0.0
    for i, anchor in enumerate(anchors):
        logits = [scale * sum(x * y for x, y in zip(anchor, c, strict=True)) for c in candidates]
        largest = max(logits)
        total += largest + math.log(sum(math.exp(logit - largest) for logit in logits)) - logits[i]
    return total / len(anchors)
