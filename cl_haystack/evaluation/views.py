"""Parts of a task on which a gain means more than on the whole.

Questions whose documents a training pair names, or that repeat a training anchor, are answered from memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cl_haystack.data import Pair, RetrievalTask, find_overlap


@dataclass(frozen=True, slots=True)
class View:
    """Some of the queries of a task.

    :param name: what they have in common.
    :param queries: their ids.
    """

    name: str
    queries: tuple[str, ...]


def training_views(task: RetrievalTask, pairs: Iterable[Pair]) -> list[View]:
    """Find the queries that training pairs do not give away.

    :param task: the task.
    :param pairs: what the model was trained on.
    :returns: queries whose relevant documents no pair names; queries that are no near-duplicate of an anchor;
        those that are both. Views of fewer than two queries are left out: nothing can be compared on them.
    """
    overlap = find_overlap(pairs, task)
    near = set(overlap.near_duplicate_queries) | set(overlap.exact_queries)
    unseen = overlap.unseen_queries
    views = [
        View("documents that no training pair names", unseen),
        View("questions unlike any training anchor", tuple(q for q in task.queries if q not in near)),
        View("both", tuple(query for query in unseen if query not in near)),
    ]
    return [view for view in views if len(view.queries) > 1]
