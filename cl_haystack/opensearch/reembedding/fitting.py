"""Asking an alias that a re-embedding moves: with both models at hand, the one that fits answers.

A query has to be embedded with the model of the index that it is asked of, and no query can know beforehand
when the alias moves. A model that does not fit is refused before its answer is used, so the other one is
asked, and asked first from then on.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from cl_haystack.errors import ConfigurationError, IndexingError

Question = TypeVar("Question")
Answer = TypeVar("Answer")

_ROUNDS = 2  # the alias may be moved back between the first way and the last


class WhicheverFits(Generic[Question, Answer]):
    """Several ways to ask the same alias, each with a model of its own.

        search = WhicheverFits([old_pipeline.run, new_pipeline.run])
        result = search({"retriever": {"query": "what is a heap?"}})

    Safe to share between threads.

    :param ways: functions of one argument, such as the ``run`` of pipelines that differ in the bundle alone.
    :raises ConfigurationError: there is none.
    """

    def __init__(self, ways: Sequence[Callable[[Question], Answer]]) -> None:
        if not ways:
            raise ConfigurationError("WhicheverFits got no way to ask; give one for each model")
        self._ways: tuple[Callable[[Question], Answer], ...] = tuple(ways)
        self._first = 0

    def __call__(self, question: Question) -> Answer:
        """Ask.

        :param question: goes to the way that fits.
        :returns: its answer.
        :raises SpaceMismatchError: the alias belongs to none of the models.
        :raises Exception: whatever the first way raised, where none has an answer.
        """
        problem: Exception | None = None
        numbers = range(len(self._ways))
        for number in [*numbers[self._first :], *numbers[: self._first]] * _ROUNDS:
            try:
                answer: Answer = self._ways[number](question)
            except Exception as error:
                # Haystack wraps what a component raises. A vector of another dimension is refused by the
                # server, where the alias moves between the check and the request.
                if not _is_of_the_index(error):
                    raise
                problem = problem or error
            else:
                self._first = number
                return answer
        assert problem is not None
        raise problem


def _is_of_the_index(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, IndexingError):
            return True
        error = error.__cause__
    return False
