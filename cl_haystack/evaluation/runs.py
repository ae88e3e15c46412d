"""Runs: what a system returned. Ordered the way trec_eval orders them, written the way it reads them."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cl_haystack.data import write_beside
from cl_haystack.data.lines import read_text_lines
from cl_haystack.errors import DataError, quote

Run = dict[str, dict[str, float]]


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Order documents as the metrics see them: by score, equal scores by id, the larger id first.

    :param scores: score by document id.
    :returns: document ids, best first.
    """
    return sorted(scores, key=lambda document: (np.float32(scores[document]), document), reverse=True)


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], *, label: str) -> None:
    """Write a run in TREC's format: ``query Q0 document rank score label`` on each line.

    :param path: the file to write.
    :param run: score by query id and document id.
    :param label: name of the system; white space becomes ``_``.
    :raises DataError: an id holds white space, which the format cannot hold, or the file cannot be written.
    """
    path = Path(path)
    tag = "_".join(label.split()) or "run"
    with write_beside(path) as file:
        for query, scores in run.items():
            for rank, document in enumerate(ranked(scores), start=1):
                _check_id(query, path)
                _check_id(document, path)
                file.write(f"{query} Q0 {document} {rank} {scores[document]!r} {tag}\n".encode())


def read_run(path: str | Path) -> tuple[Run, str]:
    """Read a run in TREC's format, whatever system wrote it.

    Ranks are not read: like trec_eval, this orders by score.

    :param path: the file, with ``query Q0 document rank score label`` on each line.
    :returns: the run, in the file's order, and the label of its first line.
    :raises DataError: the file is missing or empty, a line is broken, or a document is there twice.
    """
    path = Path(path)
    run: Run = {}
    label = ""
    for line, text in read_text_lines(path):
        cells = text.split()
        if not cells:
            continue
        if len(cells) != 6:
            problem = (
                f"found {quote(text)}; expected 'query Q0 document rank score label', as TREC's runs have"
            )
            raise DataError(problem, path=path, line=line)
        query, _, document, _, score, tag = cells
        label = label or tag
        found = run.setdefault(query, {})
        if document in found:
            problem = (
                f"document {quote(document)} is there a second time for query {quote(query)}; remove one"
            )
            raise DataError(problem, path=path, line=line)
        found[document] = _score(score, path, line)
    if not run:
        raise DataError("the file is empty; expected a run in TREC's format", path=path)
    return run, label


def _score(text: str, path: Path, line: int) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise DataError(f"score {quote(text)}; expected a number", path=path, line=line)
    return score


def _check_id(name: str, path: Path) -> None:
    if name.split() != [name]:
        raise DataError(
            f"id {quote(name)} is blank or holds white space; TREC's format has no such ids", path=path
        )
