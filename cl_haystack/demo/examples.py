"""Three held-out questions to look at: the largest gain, the largest loss, and one where little changed.

They are chosen by a rule from the measured run, never by hand, so they do not flatter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cl_haystack.data import RetrievalTask
from cl_haystack.evaluation.retrieval import RetrievalResult

METRIC = "ndcg@10"
_SNIPPET_CHARS = 140


@dataclass(frozen=True)
class Hit:
    """One document that a pipeline returned.

    :param id: the document.
    :param score: the retriever's score.
    :param snippet: how the document begins.
    :param relevant: whether it answers the question.
    """

    id: str
    score: float
    snippet: str
    relevant: bool


@dataclass(frozen=True)
class Example:
    """One question and what the pipelines returned before and after.

    :param why: the rule that chose it.
    :param question: the question.
    :param before: results with the base model, best first.
    :param after: results with the tuned model, best first.
    """

    why: str
    question: str
    before: list[Hit]
    after: list[Hit]


def choose_questions(base: RetrievalResult, tuned: RetrievalResult) -> dict[str, str]:
    """Choose three questions by how much they gained.

    :param base: evaluation of the base model.
    :param tuned: evaluation of the tuned model, on the same questions.
    :returns: question id by the reason for it.
    """
    gains = {
        question: tuned.per_query[question][METRIC] - base.per_query[question][METRIC]
        for question in base.per_query
    }
    ranked = sorted(gains, key=lambda question: (-gains[question], question))
    by_size = sorted(gains, key=lambda question: (abs(gains[question]), question))
    return {"largest gain": ranked[0], "largest loss": ranked[-1], "least changed": by_size[0]}


def build_examples(
    task: RetrievalTask,
    chosen: dict[str, str],
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
) -> list[Example]:
    """Put the pipelines' answers beside the questions.

    :param task: questions, judgements, corpus.
    :param chosen: question id by reason.
    :param before: the base pipeline's answers, in the order of ``chosen``.
    :param after: the tuned pipeline's answers, likewise.
    :returns: one example a question.
    """
    found = {document["id"] for answer in (*before, *after) for document in answer["documents"]}
    snippets = {d.id: _snippet(d.content) for d in task.corpus() if d.id in found}
    return [
        Example(
            why=why,
            question=task.queries[question],
            before=list(_hits(task, question, old["documents"], snippets)),
            after=list(_hits(task, question, new["documents"], snippets)),
        )
        for (why, question), old, new in zip(chosen.items(), before, after, strict=True)
    ]


def _hits(
    task: RetrievalTask, question: str, documents: list[dict[str, Any]], snippets: dict[str, str]
) -> Iterable[Hit]:
    for document in documents:
        relevant = task.qrels[question].get(document["id"], 0) > 0
        yield Hit(document["id"], document["score"], snippets[document["id"]], relevant)


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SNIPPET_CHARS else line[: _SNIPPET_CHARS - 1] + "…"
