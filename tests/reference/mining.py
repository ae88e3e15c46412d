"""Hard negatives by double loops, one pair and one document at a time; slow and plain on purpose."""

import math
import re


def cosine(one, other):
    dot = sum(float(x) * float(y) for x, y in zip(one, other, strict=True))
    length = math.sqrt(sum(float(x) ** 2 for x in one)) * math.sqrt(sum(float(y) ** 2 for y in other))
    return dot / length if length else 0.0


def same(one, other):
    return one.lower().split() == other.lower().split()


def find_words(text):
    return set(re.findall(r"\w+", text.lower()))


def mine(pairs, documents, encode, *, first, end, relative_margin, absolute_margin, duplicate_similarity):
    """Return for each pair the documents that pass, best first, each with its cosine to the anchor."""
    passed = []
    for pair in pairs:
        anchor = encode(pair.anchor)
        positives = [other.positive for other in pairs if same(other.anchor, pair.anchor)]
        ranking = sorted(
            documents, key=lambda document: (cosine(anchor, encode(document.content)), document.id)
        )
        ranking.reverse()
        allowed = []
        for document in ranking[first:end]:
            similarity = cosine(anchor, encode(document.content))
            positive_similarity = cosine(anchor, encode(pair.positive))
            good = True
            if similarity > positive_similarity - absolute_margin:
                good = False
            if similarity > positive_similarity - relative_margin * abs(positive_similarity):
                good = False
            for text in [pair.anchor, *positives]:
                if same(document.content, text) or same(document.text, text):
                    good = False
            for positive in positives:
                if cosine(encode(document.content), encode(positive)) >= duplicate_similarity:
                    good = False
                if find_words(pair.anchor + " " + positive) <= find_words(document.content):
                    good = False
            for text in [*pair.negatives, *(taken.content for taken, _ in allowed)]:
                if same(document.content, text):
                    good = False
            if good:
                allowed.append((document, similarity))
        passed.append(allowed)
    return passed
