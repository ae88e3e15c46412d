"""What a check of pairs can find, and what becomes of a line in which it is found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What can be wrong with a line; in this order one is chosen as the reason for which it is dropped."""

    MALFORMED = "malformed"
    NO_WORDS = "no-words"
    SAME_TEXT = "same-text"
    CONTRADICTION = "contradiction"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near-duplicate"
    EVAL_QUERY = "eval-query"
    KNOWN_POSITIVE = "known-positive"
    FALSE_NEGATIVE = "false-negative"
    FALSE_POSITIVE = "false-positive"
    DOUBTFUL_LABEL = "doubtful-label"
    PARAPHRASE = "paraphrase"
    SIMILAR_TO_EVAL = "similar-to-eval"
    EVAL_DOCUMENT = "eval-document"
    SIMILAR_DOCUMENT = "similar-document"
    BOILERPLATE = "boilerplate"
    LENGTH = "length"
    LANGUAGE = "language"
    PERSONAL_DATA = "personal-data"


DESCRIPTIONS: dict[Kind, str] = {
    Kind.MALFORMED: "no pair: cannot be read, a text is missing or empty",
    Kind.NO_WORDS: "a text without any letter or digit",
    Kind.SAME_TEXT: "anchor and positive are the same text",
    Kind.CONTRADICTION: "the same two texts are labelled otherwise elsewhere",
    Kind.DUPLICATE: "the same pair was there before, case and white space aside",
    Kind.NEAR_DUPLICATE: "the same pair was there before, but for small edits",
    Kind.EVAL_QUERY: "an evaluation query, small edits aside",
    Kind.KNOWN_POSITIVE: "a negative that is the positive, or another positive of the same anchor",
    Kind.FALSE_NEGATIVE: "a negative seems to belong to the anchor, or is nearer to it than the positive",
    Kind.FALSE_POSITIVE: "the positive seems to belong to another anchor",
    Kind.DOUBTFUL_LABEL: "the label, or a score near 0 or 1, seems to be wrong",
    Kind.PARAPHRASE: "the same pair was there before, in other words",
    Kind.SIMILAR_TO_EVAL: "an anchor that shares most words, or its meaning, with an evaluation query",
    Kind.EVAL_DOCUMENT: "the positive or a negative is a relevant document of the evaluation",
    Kind.SIMILAR_DOCUMENT: "the positive is nearly that of another line, small edits aside",
    Kind.BOILERPLATE: "one positive for very many anchors",
    Kind.LENGTH: "a text far shorter or longer than nearly all others",
    Kind.LANGUAGE: "a text in another language than nearly all others",
    Kind.PERSONAL_DATA: "an e-mail address, phone, card or account number, or IP address",
}

DROPPED: frozenset[Kind] = frozenset(
    {
        Kind.MALFORMED,
        Kind.NO_WORDS,
        Kind.SAME_TEXT,
        Kind.CONTRADICTION,
        Kind.DUPLICATE,
        Kind.NEAR_DUPLICATE,
        Kind.EVAL_QUERY,
        Kind.KNOWN_POSITIVE,
    }
)
"""Dropped unless told otherwise: what is certain from the file alone. All else is reported.

Of a line with a known positive among its negatives only these negatives are dropped.
"""

NUM_EXAMPLES = 5
_QUOTED_CHARS = 200


@dataclass(frozen=True)
class Example:
    """One line in which something was found.

    :param line: its number in the file, from 1; a row in Parquet.
    :param detail: what exactly, in a few words.
    :param anchor: the beginning of the anchor, or of the line where it is no pair.
    :param text: the beginning of the other text concerned.
    :param other_line: the line that it repeats or contradicts, where there is one.
    """

    line: int
    detail: str
    anchor: str
    text: str = ""
    other_line: int | None = None


@dataclass
class CheckReport:
    """What was found in a file of pairs, and what became of it.

    :param path: the file.
    :param lines: records read, malformed ones included.
    :param kept: lines of the cleaned file, repaired ones included.
    :param dropped: lines that are not in it.
    :param repaired: lines that lost negatives.
    :param found: lines by what was found; a line counts under everything that was found in it.
    :param drops: what lines are dropped for.
    :param dropped_for: lines dropped or repaired, by the first reason.
    :param examples: the first lines of each kind.
    :param evaluation: what the evaluation data and the pairs share, where it was looked at.
    :param notes: what was not looked at, and why.
    """

    path: str
    lines: int = 0
    kept: int = 0
    dropped: int = 0
    repaired: int = 0
    found: dict[str, int] = field(default_factory=dict)
    drops: list[str] = field(default_factory=list)
    dropped_for: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    evaluation: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def wants_example(self, kind: Kind) -> bool:
        """Tell whether there are few examples of a kind."""
        return len(self.examples.setdefault(kind.value, [])) < NUM_EXAMPLES

    def add_example(self, kind: Kind, example: Example) -> None:
        """Keep an example."""
        self.examples[kind.value].append(example)


def excerpt(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(text[: 2 * _QUOTED_CHARS].split())
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 1] + "…"


def texts_of(record: dict[str, Any]) -> Sequence[str]:
    """Return the texts of a pair's record: anchor, positive, negatives."""
    return (record["anchor"], record["positive"], *record.get("negatives", ()))
