"""The records that last: one training pair, and one document of a corpus, validated at the edge."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Annotated, Any

import pydantic
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from cl_haystack.errors import DataError, quote

# The pattern asks for one character that is not white space: a blank anchor has nothing to be similar to.
Text = Annotated[str, StringConstraints(pattern=r"\S")]


def parse_time(text: str) -> datetime:
    """Read a point in time: ISO 8601, a date alone included; without a zone it is UTC.

    :param text: such as ``2026-11-24`` or ``2026-11-24T20:00:00+01:00``.
    :returns: the time, with its zone.
    :raises DataError: the text is none.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        problem = f"{quote(text)} is no time; expected ISO 8601, such as 2026-11-24 or 2026-11-24T20:00:00Z"
        raise DataError(problem) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def time_text(value: Any) -> str:
    """Return a point in time as text, ISO 8601.

    :param value: a text, or a date or time, as Parquet has them.
    :returns: the text as it is, or that of the time.
    :raises ValueError: the value is no time.
    """
    text = value.isoformat() if isinstance(value, date) else str(value).strip()
    try:
        parse_time(text)
    except DataError as error:
        raise ValueError(error.problem) from None
    return text


class Pair(BaseModel):
    """One training record: an anchor, a text that belongs to it, and possibly texts that do not.

    Files may say ``negative`` (one text) or ``negatives`` (a list), not both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anchor: Text
    positive: Text
    negatives: tuple[Text, ...] = ()
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Graded similarity of anchor and positive, 0 to 1."""
    label: Annotated[int, Field(ge=0, le=1)] | None = None
    """1 where the two texts mean the same, 0 where they do not."""
    source: str | None = None
    """Where the pair comes from: a file, a method, a person."""
    document_id: str | None = None
    """The document that the positive is, or is a part of; a split by document keeps its pairs together."""
    topic: str | None = None
    """What it is about: an intent, a product, a department; a split by topic keeps its pairs together."""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """How much the pair counts in training, relative to the others."""
    time: Annotated[str, BeforeValidator(time_text)] | None = None
    """When it was made or judged, ISO 8601; a split by time holds out the newest."""
    candidate_scores: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] | None = None
    """A teacher's or miner's score of the positive, then of each negative; on any scale."""

    @field_validator("candidate_scores")
    @classmethod
    def _one_score_a_candidate(
        cls, scores: tuple[float, ...] | None, info: ValidationInfo
    ) -> tuple[float, ...] | None:
        if scores is None or "negatives" not in info.data:  # negatives that are broken have their own error
            return scores
        expected = 1 + len(info.data["negatives"])
        if len(scores) != expected:
            raise PydanticCustomError(
                "candidate_scores_length",
                "field 'candidate_scores' holds {found} numbers; expected {expected}, the positive's and one "
                "for each of {negatives} negatives: correct it or remove the field",
                {"found": len(scores), "expected": expected, "negatives": expected - 1},
            )
        return scores


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One document of a corpus."""

    id: str
    title: str = ""
    text: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """What is embedded and indexed: title and text joined by a space, or the one that is not empty."""
        return f"{self.title} {self.text}" if self.title and self.text else self.title or self.text


KNOWN_FIELDS = (*Pair.model_fields, "negative")
_OPTIONAL = frozenset(KNOWN_FIELDS) - {"anchor", "positive"}

_EXPECTED = {
    "anchor": "a text with at least one visible character",
    "positive": "a text with at least one visible character",
    "negatives": "a list of texts, each with at least one visible character",
    "score": "a number from 0 to 1",
    "label": "0 or 1",
    "source": "a text",
    "document_id": "a text",
    "topic": "a text",
    "weight": "a number greater than 0",
    "time": "a date or time, ISO 8601, such as 2026-11-24",
    "candidate_scores": "a list of finite numbers, the positive's and then one for each negative",
}


def parse_pair(record: dict[str, Any]) -> Pair:
    """Turn one decoded record of a file into a pair.

    :param record: what the file holds for this record; an optional field that is null counts as absent.
    :returns: the pair.
    :raises ValueError: the record is no pair; the message says what was found, expected, and what to do.
    """
    if None in record.values():
        record = {name: value for name, value in record.items() if value is not None or name not in _OPTIONAL}
    if "negative" in record:
        record = _with_negatives(record)
    try:
        return Pair.model_validate(record)
    except pydantic.ValidationError as error:
        raise ValueError(_explain(error)) from None


def _with_negatives(record: dict[str, Any]) -> dict[str, Any]:
    if "negatives" in record:
        raise ValueError("found both 'negative' and 'negatives'; expected one of them: keep 'negatives'")
    rest = {name: value for name, value in record.items() if name != "negative"}
    return rest | {"negatives": [record["negative"]]}


def _explain(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(KNOWN_FIELDS)
        return f"unknown field {quote(name)}; known fields: {known}; rename or remove it"
    if first["type"] == "candidate_scores_length":
        return first["msg"]
    if first["type"] == "missing":
        return f"no field {name!r}; expected {_EXPECTED[name]}: add it or remove the record"
    value = first["input"]
    found = "an empty text" if isinstance(value, str) and not value.strip() else _kind(value)
    verb = "holds" if len(first["loc"]) > 1 else "is"
    return f"field {name!r} {verb} {found}; expected {_EXPECTED[name]}: correct it or remove the record"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return f"the text {quote(value)}" if isinstance(value, str) else quote(str(value))
