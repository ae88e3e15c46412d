"""Losses straight from their formulas: Python loops, float64, no tricks.

``anchors`` and ``candidates`` are lists of vectors; candidate ``i`` is the positive of anchor ``i``, and
``owners`` says whose the other candidates are.
"""

import math


def dot(left, right):
    return sum(x * y for x, y in zip(left, right, strict=True))


def cosine(left, right):
    return dot(left, right) / math.sqrt(dot(left, left) * dot(right, right))


def euclidean(left, right):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(left, right, strict=True)))


def distance(left, right, kind):
    return 1 - cosine(left, right) if kind == "cosine" else euclidean(left, right)


def log_sum_exp(values):
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))


def mean(values, weights=None):
    weights = weights or [1.0] * len(values)
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def relevant_texts(anchor_texts, candidate_texts):
    """Of each row: the anchor's own text, and the positives of all rows with the same anchor."""
    pairs = list(zip(anchor_texts, candidate_texts, strict=False))
    return [{text} | {positive for anchor, positive in pairs if anchor == text} for text in anchor_texts]


def may_be_negative(direction, i, j, anchor_texts, candidate_texts, owners):
    """Whether what stands at ``j`` is a wrong answer for row ``i``."""
    relevant = relevant_texts(anchor_texts, candidate_texts)
    if direction == "query_to_doc":
        return candidate_texts[j] not in relevant[i]
    if direction == "doc_to_query":
        return candidate_texts[i] not in relevant[j]
    if direction == "query_to_query":
        positives = candidate_texts[: len(anchor_texts)]
        return not any(text in relevant[i] and text in relevant[j] for text in positives)
    related = any(candidate_texts[i] in texts and candidate_texts[j] in texts for texts in relevant)
    return owners[j] != i and not related


def info_nce(
    anchors,
    candidates,
    scale,
    directions=("query_to_doc",),
    joint=False,
    owners=None,
    anchor_texts=None,
    candidate_texts=None,
    hardness=None,
    strength=0.0,
    weights=None,
):
    """-log(exp(s * a.p) / sum of exp(s * similarity) over positive and negatives), mean over anchors."""
    owners = owners or [j % len(anchors) for j in range(len(candidates))]
    anchor_texts = anchor_texts or [f"anchor {i}" for i in range(len(anchors))]
    candidate_texts = candidate_texts or [f"candidate {j}" for j in range(len(candidates))]
    losses = []
    for i in range(len(anchors)):
        positive = scale * dot(anchors[i], candidates[i])
        logits = {}
        for direction in directions:
            from_query, to_query = direction.startswith("query"), direction.endswith("query")
            left = anchors[i] if from_query else candidates[i]
            logits[direction] = [] if from_query == to_query else [positive]
            for j, right in enumerate(anchors if to_query else candidates):
                if i == j or not may_be_negative(direction, i, j, anchor_texts, candidate_texts, owners):
                    continue
                similarity = dot(left, right)
                logit = scale * similarity
                if direction == "query_to_doc":
                    own = owners[j] == i
                    if hardness == "all_negatives" or hardness == (
                        "hard_negatives" if own else "in_batch_negatives"
                    ):
                        logit += strength * similarity
                logits[direction].append(logit)
        if joint:
            losses.append(log_sum_exp([logit for each in logits.values() for logit in each]) - positive)
        else:
            losses.append(mean([log_sum_exp(each) - positive for each in logits.values()]))
    return mean(losses, weights)


def gist(anchors, candidates, guide_anchors, guide_candidates, scale, absolute, relative, weights=None):
    """InfoNCE over anchor-candidate, anchor-anchor and positive-positive pairs that the guide admits."""
    losses = []
    for i in range(len(anchors)):
        known = dot(guide_anchors[i], guide_candidates[i])
        positive = scale * dot(anchors[i], candidates[i])
        logits = [positive]
        for left, others, guide_left, guide_others in [
            (anchors[i], candidates, guide_anchors[i], guide_candidates),
            (anchors[i], anchors, guide_anchors[i], guide_anchors),
            (candidates[i], candidates[: len(anchors)], guide_candidates[i], guide_candidates),
        ]:
            for j, right in enumerate(others):
                by_guide = dot(guide_left, guide_others[j])
                if i != j and by_guide <= known - absolute and by_guide <= known - relative * abs(known):
                    logits.append(scale * dot(left, right))
        losses.append(log_sum_exp(logits) - positive)
    return mean(losses, weights)


def cosent(similarities, scores, scale):
    total = 1.0
    for similarity_i, score_i in zip(similarities, scores, strict=True):
        for similarity_j, score_j in zip(similarities, scores, strict=True):
            if score_i > score_j:
                total += math.exp(scale * (similarity_j - similarity_i))
    return math.log(total)


def angle_similarity(left, right):
    """|Re + Im| of the sum of left * conj(right), for vectors of complex numbers of unit length."""
    left, right = [*left, 0.0] if len(left) % 2 else left, [*right, 0.0] if len(right) % 2 else right
    half = len(left) // 2
    total = 0j
    for k in range(half):
        total += complex(left[k], left[half + k]) * complex(right[k], right[half + k]).conjugate()
    total /= math.sqrt(dot(left, left) * dot(right, right))
    return abs(total.real + total.imag)


def triplet(anchors, candidates, owners, margin, kind, weights=None):
    losses, triplet_weights = [], []
    for k in range(len(anchors), len(candidates)):
        i = owners[k]
        to_positive = distance(anchors[i], candidates[i], kind)
        losses.append(max(0.0, to_positive - distance(anchors[i], candidates[k], kind) + margin))
        triplet_weights.append(weights[i] if weights else 1.0)
    return mean(losses, triplet_weights)


def batch_hard_triplet(embeddings, classes, margin, kind):
    losses = []
    for i, anchor in enumerate(embeddings):
        others = [(distance(anchor, other, kind), classes[j]) for j, other in enumerate(embeddings) if j != i]
        farthest = max([d for d, label in others if label == classes[i]], default=0.0)
        nearest = min(d for d, label in others if label != classes[i])
        losses.append(max(0.0, farthest - nearest + margin))
    return mean(losses)


def batch_semi_hard_triplet(embeddings, classes, margin, kind):
    losses = []
    for i, anchor in enumerate(embeddings):
        negatives = [
            distance(anchor, e, kind) for e, c in zip(embeddings, classes, strict=True) if c != classes[i]
        ]
        for j, other in enumerate(embeddings):
            if i != j and classes[i] == classes[j]:
                to_positive = distance(anchor, other, kind)
                negative = min([d for d in negatives if d > to_positive], default=max(negatives))
                losses.append(max(0.0, to_positive - negative + margin))
    return mean(losses) if losses else 0.0


def contrastive(distances, labels, margin, weights=None):
    losses = [
        d**2 / 2 if label else max(0.0, margin - d) ** 2 / 2
        for d, label in zip(distances, labels, strict=True)
    ]
    return mean(losses, weights)


def online_contrastive(distances, labels, margin):
    positives = [d for d, label in zip(distances, labels, strict=True) if label]
    negatives = [d for d, label in zip(distances, labels, strict=True) if not label]
    above = min(negatives) if negatives else mean(positives)
    below = max(positives) if positives else mean(negatives)
    return sum(d**2 for d in positives if d > above) + sum(
        max(0.0, margin - d) ** 2 for d in negatives if d < below
    )


def cosine_similarity(anchors, positives, scores, weights=None):
    errors = [(cosine(a, p) - score) ** 2 for a, p, score in zip(anchors, positives, scores, strict=True)]
    return mean(errors, weights)


def margin_mse(student, teacher, owners, num_anchors, weights=None):
    errors, negative_weights = [], []
    for k in range(num_anchors, len(owners)):
        i = owners[k]
        errors.append(((student[i] - student[k]) - (teacher[i] - teacher[k])) ** 2)
        negative_weights.append(weights[i] if weights else 1.0)
    return mean(errors, negative_weights)


def distill_kl(student, teacher, owners, num_anchors, scale, weights=None):
    losses = []
    for i in range(num_anchors):
        own = [k for k, owner in enumerate(owners) if owner == i]
        teacher_total = log_sum_exp([scale * teacher[k] for k in own])
        student_total = log_sum_exp([scale * student[k] for k in own])
        loss = 0.0
        for k in own:
            log_p, log_q = scale * teacher[k] - teacher_total, scale * student[k] - student_total
            loss += math.exp(log_p) * (log_p - log_q)
        losses.append(loss / scale**2)
    return mean(losses, weights)


def embedding_distillation(student, teacher, kind, weights=None):
    losses = []
    for s, t in zip(student, teacher, strict=True):
        t = t[: len(s)]
        losses.append(1 - cosine(s, t) if kind == "cosine" else euclidean(s, t) ** 2 / len(s))
    return mean(losses, weights)
