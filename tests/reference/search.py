"""Naive twins of what searches compute: one rule a function, straight from its definition."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def mmr(relevance: Sequence[float], vectors: Any, diversity: float, top_k: int) -> list[int]:
    """Choose by maximal marginal relevance (Carbonell and Goldstein 1998), every similarity anew."""
    chosen: list[int] = []
    while len(chosen) < min(top_k, len(relevance)):
        best, best_gain = -1, -np.inf
        for number, value in enumerate(relevance):
            if number in chosen:
                continue
            nearest = max((float(vectors[number] @ vectors[other]) for other in chosen), default=0.0)
            gain = (1 - diversity) * value - diversity * nearest if chosen else value
            if gain > best_gain + 1e-9:
                best, best_gain = number, gain
        chosen.append(best)
    return chosen


def scaled(scores: Sequence[float]) -> list[float]:
    """Return the scores on a scale from 0, the least, to 1."""
    low, high = min(scores), max(scores)
    return [1.0 if high == low else (score - low) / (high - low) for score in scores]


def fuse_min_max(legs: Sequence[dict[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """Return the weighted sum of scores that were scaled to 0..1 in each leg, where the last gets 0.001."""
    fused: dict[str, float] = {}
    for leg, weight in zip(legs, weights, strict=True):
        for key, score in leg.items():
            low, high = min(leg.values()), max(leg.values())
            scaled = 1.0 if high == low else (score - low) / (high - low)
            fused[key] = fused.get(key, 0.0) + weight * (scaled if scaled > 0 else 0.001)
    return fused


def fuse_rrf(legs: Sequence[dict[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """Return the sum of 1 / (60 + rank), weighted where weights differ."""
    if weights[0] == weights[1]:
        weights = (1.0, 1.0)
    fused: dict[str, float] = {}
    for leg, weight in zip(legs, weights, strict=True):
        for key in leg:
            fused[key] = fused.get(key, 0.0) + weight / (60 + 1 + list(leg).index(key))
    return fused


def connected(adjacent: Any) -> list[list[int]]:
    """Return the connected components of at least two, by walking through the matrix."""
    seen: set[int] = set()
    groups = []
    for start in range(len(adjacent)):
        group, waiting = set(), [start]
        while waiting:
            number = waiting.pop()
            if number not in seen:
                seen.add(number)
                group.add(number)
                waiting += np.flatnonzero(adjacent[number]).tolist()
        if len(group) > 1:
            groups.append(sorted(group))
    return groups
