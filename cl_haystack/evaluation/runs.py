"""Runs: what a system returned. Ordered the way trec_eval orders them, written the way it reads them."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cl_haystack.data import write_beside
from cl_haystack.data.lines import OnFault, read_text_lines, refuse
from cl_haystack.errors import DataError, quote

Run = dict[str, dict[str, float]]

_EXPECTED = "expected 'query Q0 document rank score label', as TREC's runs have"


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


def read_run(path: str | Path, on_fault: OnFault = refuse) -> tuple[Run, str]:
    """Read a run in TREC's format, whatever system wrote it.

    Ranks are not read: like trec_eval, this orders by score.

    :param path: the file, with ``query Q0 document rank score label`` on each line.
    :param on_fault: told each line that is none, or names a document a second time: the first stays.
    :returns: the run, in the file's order, and the label of its first line.
    :raises DataError: the file is missing or holds no line of a run, or a line cannot be used and nobody
        wants to know.
    """
    path = Path(path)
    run: Run = {}
    label = ""
    for line, text in read_text_lines(path, on_fault):
        if not text.strip():
            continue
        try:
            query, document, score, tag = _result(text, path, line)
            if document in run.get(query, {}):
                twice = f"document {quote(document)} is there a second time for query {quote(query)}"
                raise DataError(f"{twice}; remove one", path=path, line=line)
        except DataError as fault:
            on_fault(fault, text.encode())
            continue
        label = label or tag
        run.setdefault(query, {})[document] = score
    if not run:
        raise DataError(f"the file holds no line of a run; {_EXPECTED}", path=path)
    return run, label


def _result(text: str, path: Path, line: int) -> tuple[str, str, float, str]:
    cells = text.split()
    if len(cells) != 6:
        raise DataError(f"found {quote(text)}; {_EXPECTED}", path=path, line=line)
    query, _, document, _, number, tag = cells
    try:
        score = float(number)
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise DataError(f"score {quote(number)}; expected a number", path=path, line=line)
    return query, document, score, tag


def _check_id(name: str, path: Path) -> None:
    if name.split() != [name]:
        raise DataError(
            f"id {quote(name)} is blank or holds white space; TREC's format has no such ids", path=path
        )
