"""The first pass over a file of pairs: every line is kept on disk, and of its texts what tells them apart."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_haystack.data.beir import RetrievalTask
from cl_haystack.data.curation.evaluation_texts import EvaluationTexts
from cl_haystack.data.curation.findings import texts_of
from cl_haystack.data.curation.language import LanguageGuess
from cl_haystack.data.curation.near_texts import Ids, TextTable
from cl_haystack.data.curation.personal_data import find_personal_data
from cl_haystack.data.curation.spool import Spool
from cl_haystack.data.reading import read_numbered_pairs
from cl_haystack.errors import DataError
from cl_haystack.progress import OnProgress, Progress

_TOLD_EVERY = 2000  # lines
MALFORMED = -1  # as number of a text
NO_LABEL = -1
SURE_GRADES = (0.2, 0.8)  # those between them say neither yes nor no


@dataclass(frozen=True)
class Columns:
    """What is known of each line, by its place in the file; arrays are ``(lines,)`` unless told otherwise.

    :param line: its number in the file.
    :param anchor: number of the anchor's text; :data:`MALFORMED` where the line is no pair.
    :param positive: number of the positive's text.
    :param negatives: numbers of all negatives' texts, line after line, ``(negatives,)``.
    :param negatives_of: the line of each negative, ``(negatives,)``.
    :param label: 0, 1 or :data:`NO_LABEL`.
    :param score: the graded similarity, or NaN.
    """

    line: Ids
    anchor: Ids
    positive: Ids
    negatives: Ids
    negatives_of: Ids
    label: Ids
    score: NDArray[np.float64]

    @property
    def is_pair(self) -> NDArray[np.bool_]:
        """Which lines are pairs."""
        result: NDArray[np.bool_] = self.anchor != MALFORMED
        return result

    @property
    def grade(self) -> NDArray[np.float64]:
        """How far the texts belong together: the label, else the score; 1 where a line has neither."""
        said = np.where(self.label != NO_LABEL, self.label, self.score)
        return np.where(np.isnan(said), 1.0, said)

    @property
    def verdict(self) -> Ids:
        """Whether the texts belong together: 2 is yes, 0 no, 1 neither."""
        grade = self.grade
        return (grade > SURE_GRADES[0]).astype(np.int64) + (grade >= SURE_GRADES[1])


class Intake:
    """Reads a file once.

    :param spool: where its lines go.
    :param task: evaluation data, of which nothing should be in the file.
    :param language: the language that texts should be in, as an ISO 639-1 code; None takes any.
    """

    def __init__(self, spool: Spool, task: RetrievalTask | None, language: str | None) -> None:
        self.spool = spool
        self.texts = TextTable(self.text)
        self.without_words: set[int] = set()
        self.with_personal_data: set[int] = set()
        self.in_other_language: dict[int, str] = {}
        self._place = array("q")  # of a text: its record
        self._slot = array("I")  # its place in the record
        self._language = None if language is None else LanguageGuess(language)
        # First of all, so that a text of the evaluation leads whatever is like it.
        self.evaluation: EvaluationTexts | None = None
        if task is not None:
            self.evaluation = EvaluationTexts(task, self._add_evaluation_text)
        self.num_evaluation_records = len(spool)
        self.num_evaluation_texts = len(self.texts)

    def read(self, path: Path, on_progress: OnProgress) -> Columns:
        """Read all lines.

        :param path: the file.
        :param on_progress: told the number of lines read.
        :returns: what is known of each.
        :raises DataError: the file as a whole cannot be read.
        """
        line, anchor, positive = array("q"), array("q"), array("q")
        negatives, negatives_of, label, score = array("q"), array("q"), array("q"), array("d")

        def note(number: int, record: dict[str, Any]) -> None:
            if len(line) % _TOLD_EVERY == 0:
                on_progress(Progress(len(line), None, "reading"))
            place = self.spool.add(record)
            ids = [] if "problem" in record else self._add_texts(record, place)
            line.append(number)
            anchor.append(ids[0] if ids else MALFORMED)
            positive.append(ids[1] if ids else MALFORMED)
            negatives.extend(ids[2:])
            negatives_of.extend([len(line) - 1] * len(ids[2:]))
            label.append(record.get("label", NO_LABEL))
            score.append(record.get("score", np.nan))

        def note_fault(fault: DataError, found: bytes) -> None:
            note(fault.line or 0, {"problem": fault.problem, "found": found.decode(errors="replace")})

        for number, pair in read_numbered_pairs(path, note_fault):
            note(number, pair.model_dump(mode="json", exclude_defaults=True))
        return Columns(
            line=np.asarray(line),
            anchor=np.asarray(anchor),
            positive=np.asarray(positive),
            negatives=np.asarray(negatives),
            negatives_of=np.asarray(negatives_of),
            label=np.asarray(label),
            score=np.asarray(score),
        )

    def text(self, text_id: int) -> str:
        """Read a text again."""
        return texts_of(self.spool.read(self._place[text_id]))[self._slot[text_id]]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Read all lines again, in their order."""
        for number, record in enumerate(self.spool):
            if number >= self.num_evaluation_records:
                yield record

    def _add_texts(self, record: dict[str, Any], place: int) -> list[int]:
        return [self._add_text(text, place, slot) for slot, text in enumerate(texts_of(record))]

    def _add_text(self, text: str, place: int, slot: int) -> int:
        text_id, words = self.texts.add(text)
        if words is None:
            return text_id
        self._place.append(place)
        self._slot.append(slot)
        if not words:
            self.without_words.add(text_id)
        if next(find_personal_data(text), None):
            self.with_personal_data.add(text_id)
        if self._language is not None and (other := self._language.other_than_expected(text)):
            self.in_other_language[text_id] = other
        if self.evaluation is not None:
            self.evaluation.compare(text_id, text, words)
        return text_id

    def _add_evaluation_text(self, text: str) -> int:
        return self._add_text(text, self.spool.add({"anchor": text, "positive": ""}), 0)
