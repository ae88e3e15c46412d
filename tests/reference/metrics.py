"""The metrics from their formulas, one query at a time; slow and plain on purpose."""

import math
import struct


def single_precision(score):
    return struct.unpack("f", struct.pack("f", score))[0]


def rank_documents(scores):
    order = sorted(scores)
    order.reverse()  # the larger id first ...
    order.sort(key=lambda document: -single_precision(scores[document]))  # ... where scores are equal: stable
    return order


def query_metrics(grades, scores, k):
    ranking = rank_documents(scores)[:k]
    gains = [max(0, grades.get(document, 0)) for document in ranking]
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    num_relevant = len(ideal)

    dcg = 0.0
    for rank, gain in enumerate(gains, start=1):
        dcg += gain / math.log2(rank + 1)
    best = 0.0
    for rank, gain in enumerate(ideal[:k], start=1):
        best += gain / math.log2(rank + 1)

    hits = 0
    first_hit = None
    sum_of_precisions = 0.0
    for rank, gain in enumerate(gains, start=1):
        if gain > 0:
            hits += 1
            sum_of_precisions += hits / rank
            first_hit = first_hit or rank

    return {
        f"ndcg@{k}": dcg / best if best else 0.0,
        f"recall@{k}": hits / num_relevant if num_relevant else 0.0,
        f"mrr@{k}": 1 / first_hit if first_hit else 0.0,
        f"map@{k}": sum_of_precisions / num_relevant if num_relevant else 0.0,
        f"precision@{k}": hits / k,
        f"success@{k}": 1.0 if hits else 0.0,
    }


def run_metrics(qrels, run, ks):
    means = {}
    for k in ks:
        rows = [query_metrics(grades, run.get(query, {}), k) for query, grades in qrels.items()]
        for name in rows[0]:
            means[name] = sum(row[name] for row in rows) / len(rows)
    return means
