"""Three held-out questions to look at: the largest gain, the largest loss, and one where nothing changed.

They are chosen by a rule from the measured run, never by hand, so they do not flatter.
"""

from typing import Any

from cl_haystack.data import CorpusDocument, RetrievalTask
from cl_haystack.evaluation.report import Example, RankedDocument, ResultList
from cl_haystack.evaluation.retrieval import RetrievalResult

METRIC = "ndcg@10"
_EXCERPT_CHARS = 140

Answers = list[dict[str, Any]]
"""What a pipeline returned for each question: ``prompt`` and ``documents`` (id, score)."""


def choose_questions(base: RetrievalResult, tuned: RetrievalResult) -> dict[str, str]:
    """Choose three questions by how much they gained.

    :param base: evaluation of the base model.
    :param tuned: evaluation of the tuned model, on the same questions.
    :returns: question id by the rule that chose it.
    """
    gains = {
        query: tuned.per_query[query][METRIC] - base.per_query[query][METRIC] for query in base.per_query
    }
    ranked = sorted(gains, key=lambda query: (-gains[query], query))
    unchanged = min(gains, key=lambda query: (abs(gains[query]), -base.per_query[query][METRIC], query))
    return {"largest gain": ranked[0], "largest loss": ranked[-1], "least changed": unchanged}


def build_examples(
    task: RetrievalTask,
    chosen: dict[str, str],
    answers: dict[str, Answers],
    results: dict[str, RetrievalResult],
) -> list[Example]:
    """Put the pipelines' answers beside the questions.

    :param task: questions, judgements, corpus.
    :param chosen: question id by rule.
    :param answers: for each system what its pipeline returned, in the order of ``chosen``.
    :param results: evaluation of the same systems, which tells ranks beyond the few that are shown.
    :returns: one example a question.
    """
    shown = {found["id"] for listed in answers.values() for answer in listed for found in answer["documents"]}
    documents = {document.id: document for document in task.corpus() if document.id in shown}
    examples = []
    for number, (rule, query) in enumerate(chosen.items()):
        relevant = {document for document, grade in task.qrels[query].items() if grade > 0}
        lists = [
            ResultList(
                label=results[system].label,
                documents=[
                    _ranked(rank, documents[found["id"]], relevant)
                    for rank, found in enumerate(listed[number]["documents"], start=1)
                ],
                first_relevant_rank=_first_relevant_rank(results[system], query, relevant),
            )
            for system, listed in answers.items()
        ]
        examples.append(Example(question=task.queries[query], note=rule, results=lists))
    return examples


def _ranked(rank: int, document: CorpusDocument, relevant: set[str]) -> RankedDocument:
    line = " ".join(document.content.split())
    excerpt = line if len(line) <= _EXCERPT_CHARS else line[: _EXCERPT_CHARS - 1] + "…"
    return RankedDocument(rank=rank, title=document.id, excerpt=excerpt, relevant=document.id in relevant)


def _first_relevant_rank(result: RetrievalResult, query: str, relevant: set[str]) -> int | None:
    ranked = enumerate(result.run[query], start=1)
    return next((rank for rank, document in ranked if document in relevant), None)
