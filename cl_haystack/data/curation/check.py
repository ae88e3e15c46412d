"""The check of a file of pairs: read once, compare, write what is left and what is not.

1. Every line goes to disk, and of its texts digest, signature and length stay in memory.
2. Lines are compared by these numbers; only texts that may be the same are read again.
3. Lines are read again, and written to one of two files, each with everything that was found in it.
"""

from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import numpy as np

from cl_haystack.data.beir import RetrievalTask
from cl_haystack.data.curation import plausibility, relations
from cl_haystack.data.curation.companions import doubted_companions
from cl_haystack.data.curation.evaluation_texts import EvaluationTexts
from cl_haystack.data.curation.findings import DROPPED, CheckReport, Kind
from cl_haystack.data.curation.intake import Columns, Intake
from cl_haystack.data.curation.near_texts import Alike
from cl_haystack.data.curation.outcome import Findings, write_outcome
from cl_haystack.data.curation.paraphrases import same_meaning
from cl_haystack.data.curation.spool import Spool
from cl_haystack.data.curation.vectors import TextVectors
from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.errors import ConfigurationError
from cl_haystack.progress import OnProgress, Progress, ignore

SAME_MEANING = 0.95
"""Cosine of all-MiniLM-L6-v2 from which on two sentences mean the same, see ``docs/pairs.md``."""


def check_pairs(
    path: str | Path,
    out: str | Path,
    *,
    dropped: str | Path | None = None,
    drop: Collection[Kind] = DROPPED,
    task: RetrievalTask | None = None,
    encoder: TextEncoder | None = None,
    same_meaning_from: float = SAME_MEANING,
    language: str | None = None,
    on_progress: OnProgress = ignore,
) -> CheckReport:
    """Look for what would spoil training in a file of pairs, and write the pairs without it.

    The same file gives the same answer. Memory grows by about 450 bytes for each distinct text, however long;
    the disk beside ``out`` holds a second copy meanwhile and, with an encoder, vectors of two bytes a number.
    An encoder needs far longer than all the rest.

    :param path: pairs, in any form that :func:`~cl_haystack.data.read_pairs` reads; broken lines are
        findings.
    :param out: the cleaned pairs, JSONL, in the order of the file.
    :param dropped: every line that is not in ``out`` or lost negatives, with what was found in it, JSONL;
        None writes beside ``out``, as ``NAME.dropped.jsonl``.
    :param drop: what a line is dropped for; the rest is reported only. Of a line with a known positive among
        its negatives these negatives are dropped.
    :param task: evaluation data that must not be trained on.
    :param encoder: finds positives, negatives and labels that are hardly right, and pairs that are there in
        other words; None does not look.
    :param same_meaning_from: cosine of the encoder from which on two texts mean the same, such as a threshold
        that the bundle was calibrated with.
    :param language: the language that texts should be in, an ISO 639-1 code; None does not look.
    :param on_progress: told lines read, and encoded.
    :returns: counts and examples.
    :raises DataError: the file as a whole cannot be read, or nothing can be written.
    :raises ConfigurationError: the language is unknown, or the files are one and the same.
    """
    path, out = Path(path), Path(out)
    beside = out.with_name(f"{out.stem}.dropped.jsonl") if dropped is None else Path(dropped)
    if len({path.resolve(), out.resolve(), beside.resolve()}) < 3:
        raise ConfigurationError(f"{path}, {out} and {beside} must be three files: name another one")
    report = CheckReport(str(path))
    with closing(Spool(out.parent)) as spool:
        intake = Intake(spool, task, language)
        columns = intake.read(path, on_progress)
        findings = Findings(columns)
        alike = intake.texts.alike(intake.num_evaluation_texts)
        _look_at_texts(intake, columns, findings)
        _look_at_relations(intake, columns, alike, findings)
        if intake.evaluation is not None:
            _look_at_evaluation(intake.evaluation, columns, alike, findings, report)
        if encoder is not None:
            model = _Model(intake, columns, encoder, out.parent, on_progress)
            _look_at_plausibility(model, intake, columns, findings, report)
            _look_at_meaning(model, intake, columns, same_meaning_from, findings)
        write_outcome(intake, columns, findings, frozenset(drop), out, beside, report)
    return report


def _look_at_texts(intake: Intake, columns: Columns, findings: Findings) -> None:
    findings.add(Kind.MALFORMED, ~columns.is_pair)
    pairs = np.flatnonzero(columns.is_pair)
    for kind, texts in (
        (Kind.NO_WORDS, intake.without_words),
        (Kind.PERSONAL_DATA, intake.with_personal_data),
        (Kind.LANGUAGE, set(intake.in_other_language)),
    ):
        wanted = np.fromiter(texts, dtype=np.int64, count=len(texts))
        for ids in (columns.anchor, columns.positive):
            findings.add(kind, np.isin(ids, wanted))
        findings.add_places(kind, columns.negatives_of[np.isin(columns.negatives, wanted)])
    num_chars = intake.texts.num_chars
    for ids in (columns.anchor, columns.positive):
        findings.add_places(Kind.LENGTH, pairs[relations.odd_lengths(ids[pairs], num_chars)])


def _look_at_relations(intake: Intake, columns: Columns, alike: Alike, findings: Findings) -> None:
    if not columns.is_pair.any():
        return
    leaders = alike.leaders
    graded = ~np.isnan(columns.score)
    findings.add(Kind.SAME_TEXT, columns.is_pair & ~graded & (columns.anchor == columns.positive))
    findings.add_others(Kind.CONTRADICTION, relations.contradictions(columns, leaders))
    # A line that is dropped is no duplicate's original.
    usable = columns.is_pair & ~findings.has(Kind.CONTRADICTION, Kind.NO_WORDS, Kind.SAME_TEXT)
    findings.add_others(Kind.DUPLICATE, relations.duplicates(columns, among=usable))
    usable &= ~findings.has(Kind.DUPLICATE)
    findings.add_others(Kind.NEAR_DUPLICATE, relations.near_duplicates(columns, alike, among=usable))
    usable &= ~findings.has(Kind.NEAR_DUPLICATE)
    findings.set_known_positives(relations.known_positives(columns, alike))
    findings.add(Kind.BOILERPLATE, relations.boilerplate(columns, leaders, among=usable))
    num_chars = intake.texts.num_chars
    similar = relations.similar_documents(columns, leaders, num_chars, among=usable)
    findings.add_others(Kind.SIMILAR_DOCUMENT, similar)


def _look_at_evaluation(
    evaluation: EvaluationTexts, columns: Columns, alike: Alike, findings: Findings, report: CheckReport
) -> None:
    similar: set[str] = set()
    repeated = _look_at_negatives(evaluation, columns, alike, findings)
    seen: set[str] = set()
    for place in np.flatnonzero(columns.is_pair).tolist():
        anchor, positive = int(columns.anchor[place]), int(columns.positive[place])
        for text_id in (anchor, positive):
            if query := _one_of(evaluation.queries, text_id, alike):
                findings.add_detail(Kind.EVAL_QUERY, place, f"query {query}")
                repeated.add(query)
            elif found := evaluation.similar.get(text_id):
                findings.add_detail(Kind.SIMILAR_TO_EVAL, place, f"query {', '.join(found[:3])}")
        similar.update(evaluation.similar.get(anchor, ()))
        if document := _one_of(evaluation.documents, positive, alike):
            findings.add_detail(Kind.EVAL_DOCUMENT, place, f"document {document}")
            seen.add(document)
    report.evaluation = {
        "queries": evaluation.num_queries,
        "repeated_queries": len(repeated),
        "queries_sharing_most_words": len(similar),
        "relevant_documents": evaluation.num_documents,
        "seen_documents": len(seen),
    }


def _look_at_negatives(
    evaluation: EvaluationTexts, columns: Columns, alike: Alike, findings: Findings
) -> set[str]:
    """Find evaluation queries and relevant documents among negatives, and return the queries."""
    repeated: set[str] = set()
    order = np.argsort(columns.negatives, kind="stable")
    texts, starts, counts = np.unique(columns.negatives[order], return_index=True, return_counts=True)
    for text_id, start, count in zip(texts.tolist(), starts.tolist(), counts.tolist(), strict=True):
        query = _one_of(evaluation.queries, text_id, alike)
        document = _one_of(evaluation.documents, text_id, alike)
        if query is None and document is None:
            continue
        for place in columns.negatives_of[order[start : start + count]].tolist():
            if query is not None:
                findings.add_detail(Kind.EVAL_QUERY, place, f"query {query} as a negative")
                repeated.add(query)
            if document is not None:
                findings.add_detail(Kind.EVAL_DOCUMENT, place, f"document {document} as a negative")
    return repeated


def _one_of(names: dict[int, str], text_id: int, alike: Alike) -> str | None:
    return next((names[text] for text in alike.of(text_id) if text in names), None)


class _Model:
    """Vectors of all anchors, as queries, and of all other texts, as documents."""

    def __init__(
        self, intake: Intake, columns: Columns, encoder: TextEncoder, folder: Path, on_progress: OnProgress
    ) -> None:
        pairs = columns.is_pair
        asked = [
            columns.anchor[pairs],
            np.array(list(intake.evaluation.queries if intake.evaluation else ())),
        ]
        anchors = np.unique(np.concatenate(asked)).astype(np.int64)
        documents = np.unique(np.concatenate([columns.positive[pairs], columns.negatives]))
        count = len(anchors) + len(documents)

        def told(step: Progress) -> None:
            on_progress(Progress(step.done, count, "encoding"))

        def told_later(step: Progress) -> None:
            on_progress(Progress(len(anchors) + step.done, count, "encoding"))

        self.anchors = TextVectors(anchors, encoder.encode_queries, intake.text, folder, told)
        self.documents = TextVectors(documents, encoder.encode_documents, intake.text, folder, told_later)


def _look_at_plausibility(
    model: _Model, intake: Intake, columns: Columns, findings: Findings, report: CheckReport
) -> None:
    judgements = plausibility.judgements_of(columns)
    features = plausibility.measure(judgements, intake.texts, model.anchors, model.documents)
    companions = doubted_companions(judgements, features, model.documents)
    found = plausibility.judge(judgements, features, companions, columns)
    findings.plausibility = found
    report.notes.append(found.note)
    is_judged = relations.is_judged(columns)
    findings.add(Kind.DOUBTFUL_LABEL, found.positive_doubted & is_judged)
    findings.add(Kind.FALSE_POSITIVE, found.positive_doubted & ~is_judged)
    findings.add(Kind.FALSE_NEGATIVE, found.negative_doubted)


def _look_at_meaning(
    model: _Model, intake: Intake, columns: Columns, similarity: float, findings: Findings
) -> None:
    alike = Alike(len(intake.texts), intake.num_evaluation_texts)
    for vectors in (model.anchors, model.documents):
        same_meaning(alike, vectors, intake.texts, similarity)
    usable = columns.is_pair & ~findings.has(*DROPPED)
    findings.add_others(Kind.PARAPHRASE, relations.near_duplicates(columns, alike, among=usable))
    if intake.evaluation is not None:
        queries = intake.evaluation.queries
        for place in np.flatnonzero(usable).tolist():
            if query := _one_of(queries, int(columns.anchor[place]), alike):
                findings.add_detail(Kind.SIMILAR_TO_EVAL, place, f"query {query}")
