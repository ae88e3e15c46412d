"""Three held-out questions to look at: the largest gain, the largest loss, and one where nothing changed.

They are chosen by a rule from the measured run, never by hand, so they do not flatter. What is shown is what
the pipelines returned, not what the evaluation remembers.
"""

from collections.abc import Mapping
from typing import Any

from cl_haystack.data import RetrievalTask
from cl_haystack.demo.live import Role
from cl_haystack.evaluation.examples import build_examples, largest_changes
from cl_haystack.evaluation.parts import Example
from cl_haystack.evaluation.retrieval import RetrievalResult
from cl_haystack.evaluation.rows import PRIMARY_METRIC


def choose_questions(base: RetrievalResult, tuned: RetrievalResult) -> dict[str, str]:
    """Choose three questions by how much they gained.

    :param base: evaluation of the base model.
    :param tuned: evaluation of the tuned model, on the same questions.
    :returns: by question id, the rule that chose it.
    """

    def change(query: str) -> float:
        return abs(tuned.per_query[query][PRIMARY_METRIC] - base.per_query[query][PRIMARY_METRIC])

    def found_well(query: str) -> float:
        return base.per_query[query][PRIMARY_METRIC]

    changed = {query: f"largest {note}" for query, note in largest_changes(tuned, base, num_each=1).items()}
    unchanged = min(base.per_query, key=lambda query: (change(query), -found_well(query), query))
    return {**changed, unchanged: "least changed"}


def pipeline_examples(
    task: RetrievalTask,
    chosen: Mapping[str, str],
    answers: Mapping[Role, list[dict[str, Any]]],
    results: Mapping[Role, RetrievalResult],
) -> list[Example]:
    """Put the pipelines' answers beside the questions.

    :param task: questions, judgements, corpus.
    :param chosen: rule by question id.
    :param answers: for each pipeline its answers, in the order of ``chosen``.
    :param results: evaluation of the same two models.
    :returns: one example a question.
    """
    returned = []
    for role, listed in answers.items():
        run = {
            query: {found["id"]: found["score"] for found in answer["documents"]}
            for query, answer in zip(chosen, listed, strict=True)
        }
        returned.append(results[role].model_copy(update={"run": run}))
    return build_examples(task, returned, chosen)
