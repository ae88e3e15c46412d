"""What evaluation data and training pairs share: queries, small edits of them, and relevant documents."""

from collections.abc import Callable

from cl_haystack.data.beir import RetrievalTask
from cl_haystack.data.leakage import SimilarTexts

_QUERY_WORDS = 60  # a longer text is no copy of a query, and comparing takes time


class EvaluationTexts:
    """Queries and relevant documents of a task.

    :param task: the task; its corpus is passed over once.
    :param add: puts a text among those that are compared, and returns its number.
    """

    def __init__(self, task: RetrievalTask, add: Callable[[str], int]) -> None:
        self.queries: dict[int, str] = {}
        """Query id by number of the text."""
        self.documents: dict[int, str] = {}
        """Id of a relevant document by number of its text, with and without title."""
        self.similar: dict[int, tuple[str, ...]] = {}
        """Ids of the queries that share most words with a text, by number of the text."""
        self.num_queries = len(task.queries)
        for query_id, text in task.queries.items():
            self.queries.setdefault(add(text), query_id)
        relevant = set[str]().union(*map(task.relevant, task.qrels))
        self.num_documents = len(relevant)
        for document in task.corpus():
            if document.id in relevant:
                for text in (document.content, document.text):
                    if text.strip():
                        self.documents.setdefault(add(text), document.id)
        self._similar = SimilarTexts(task.queries)
        for text_id, query_id in self.queries.items():  # a pair's text may be one of them
            self.similar[text_id] = tuple(sorted(self._similar.find(task.queries[query_id])))

    def compare(self, text_id: int, text: str, words: list[str]) -> None:
        """Remember which queries share most words with a text."""
        if len(words) <= _QUERY_WORDS and (found := self._similar.find(text)):
            self.similar[text_id] = tuple(sorted(found))
