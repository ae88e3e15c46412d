"""Defects planted into real pairs, and the lines where they are: what a check must find, and no more."""

import re
import string
from random import Random

from cl_haystack.data import Pair

_NEGATION = re.compile(r"\b(?:no|not|never|without|cannot|cant|dont)\b|n\Wt\b", re.IGNORECASE)
EDITS = ("case", "letter", "letters", "dropped word", "doubled word", "swapped words")


def edited(text: str, edit: str, random: Random) -> str:
    """Return a text with a small edit, as a person or a crawler makes them."""
    words = text.split()
    place = random.randrange(len(words) - 1)
    if edit == "case":
        return f"  {text.lower().rstrip('.?!')} !"
    if edit == "letter":
        return _with_typing_error(text, random)
    if edit == "letters":
        return _with_typing_error(_with_typing_error(text, random), random)
    if edit == "dropped word":  # without its "not" a text is another, and no copy
        del words[place - 1 if _NEGATION.search(words[place]) else place]
    elif edit == "doubled word":
        words.insert(place, words[place])
    else:
        words[place : place + 2] = reversed(words[place : place + 2])
    return " ".join(words)


def with_copies(pairs: list[Pair], *, share: float, seed: int) -> tuple[list[Pair], set[int]]:
    """Put edited copies of some pairs somewhere behind them; return their lines, from 1."""
    random = Random(seed)
    planted: list[tuple[float, Pair, bool]] = [(place, pair, False) for place, pair in enumerate(pairs)]
    for number, place in enumerate(random.sample(range(len(pairs)), int(share * len(pairs)))):
        pair, edit = pairs[place], EDITS[number % len(EDITS)]
        changes = {"anchor": edited(pair.anchor, edit, random)}
        if random.random() < 0.5:
            changes["positive"] = edited(pair.positive, edit, random)
        behind = random.uniform(place, len(pairs))
        planted.append((behind + 1e-9, pair.model_copy(update=changes), True))
    planted.sort(key=lambda entry: entry[0])
    return [pair for _, pair, _ in planted], {line for line, (*_, bad) in enumerate(planted, start=1) if bad}


def with_leaks(pairs: list[Pair], queries: list[str], *, seed: int) -> tuple[list[Pair], set[int]]:
    """Put evaluation queries, some of them edited, in front of other pairs' positives; return their lines."""
    random = Random(seed)
    leaked = [
        Pair(anchor=edited(text, EDITS[i % len(EDITS)], random) if i % 2 else text, positive=pair.positive)
        for i, (text, pair) in enumerate(zip(queries, pairs, strict=False))
    ]
    return [*pairs, *leaked], set(range(len(pairs) + 1, len(pairs) + len(leaked) + 1))


def with_negatives(pairs: list[Pair], *, seed: int, false_share: float) -> tuple[list[Pair], set[int]]:
    """Give each pair another pair's positive as a negative, some an edited copy of their own."""
    random = Random(seed)
    made, bad = [], set()
    for line, pair in enumerate(pairs, start=1):
        other = pairs[random.randrange(len(pairs))].positive
        while other in {p.positive for p in pairs if p.anchor == pair.anchor}:
            other = pairs[random.randrange(len(pairs))].positive
        if random.random() < false_share:
            bad.add(line)
            other = edited(pair.positive, random.choice(EDITS), random)
        made.append(pair.model_copy(update={"negatives": (other,)}))
    return made, bad


def with_halves(pairs: list[Pair], *, seed: int, share: float) -> tuple[list[Pair], set[int]]:
    """Keep the first half of each positive, with second halves of others as negatives, some of their own."""
    random = Random(seed)
    made, bad = [], set()
    for line, pair in enumerate(pairs, start=1):
        own = {p.positive for p in pairs if p.anchor == pair.anchor}
        others = random.sample([p.positive for p in pairs if p.positive not in own], 3)
        if random.random() < share:
            bad.add(line)
            others[random.randrange(3)] = pair.positive
        negatives = tuple(_halves(text)[1] for text in others)
        made.append(pair.model_copy(update={"positive": _halves(pair.positive)[0], "negatives": negatives}))
    return made, bad


def _halves(text: str) -> tuple[str, str]:
    sentences = re.split(r"(?<=[.?!])\s+", text)
    middle = len(sentences) // 2
    return " ".join(sentences[:middle]), " ".join(sentences[middle:])


def with_flipped_labels(pairs: list[Pair], *, seed: int, share: float) -> tuple[list[Pair], set[int]]:
    """Label each pair 1, and 0 with another pair's positive; flip some labels."""
    random = Random(seed)
    made, flipped = [], set()
    for pair in pairs:
        for label in (1, 0):
            positive = pair.positive if label else pairs[random.randrange(len(pairs))].positive
            if not label and positive in {p.positive for p in pairs if p.anchor == pair.anchor}:
                continue
            flip = random.random() < share
            made.append(Pair(anchor=pair.anchor, positive=positive, label=1 - label if flip else label))
            if flip:
                flipped.add(len(made))
    return made, flipped


def recall_and_false_alarms(found: set[int], planted: set[int], count: int) -> tuple[float, float]:
    """Return the share of planted lines that was found, and the share of others that was found too."""
    return len(found & planted) / len(planted), len(found - planted) / (count - len(planted))


def _with_typing_error(text: str, random: Random) -> str:
    place = random.randrange(1, len(text) - 1)
    letter = random.choice(string.ascii_lowercase)
    return random.choice(
        [
            text[:place] + text[place + 1] + text[place] + text[place + 2 :],
            text[:place] + text[place + 1 :],
            text[:place] + letter + text[place + 1 :],
            text[:place] + letter + text[place:],
        ]
    )
