"""Parts of a task on which a gain means more than on the whole.

Questions whose documents a training pair names, or that repeat a training anchor, are answered from memory.
"""

from dataclasses import dataclass

from cl_haystack.data import Overlap, RetrievalTask


@dataclass(frozen=True, slots=True)
class View:
    """Some of the queries of a task.

    :param name: what they have in common.
    :param queries: their ids.
    """

    name: str
    queries: tuple[str, ...]


def training_views(task: RetrievalTask, overlap: Overlap) -> list[View]:
    """Find the queries that training pairs do not give away.

    :param task: the task.
    :param overlap: what it shares with the pairs that the model was trained on.
    :returns: queries whose relevant documents no pair names; queries that are no near-duplicate of an anchor;
        those that are both. Any may be empty: then the pairs give everything away.
    """
    near = set(overlap.near_duplicate_queries) | set(overlap.exact_queries)
    unseen = overlap.unseen_queries
    return [
        View("documents that no training pair names", unseen),
        View("questions unlike any training anchor", tuple(q for q in task.queries if q not in near)),
        View("both", tuple(query for query in unseen if query not in near)),
    ]
