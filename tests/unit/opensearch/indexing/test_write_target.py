"""Where a writer writes while an alias moves: never through it to an index that was not checked."""

import time
from typing import Any

import pytest

from cl_haystack.errors import SpaceMismatchError
from cl_haystack.opensearch import OpenSearchIndex
from cl_haystack.opensearch.indexing.write_target import WriteTarget
from tests.opensearch_fakes import tiny_bundle


class MovingAlias(OpenSearchIndex):
    """An alias that leads to ``leads_to``; only ``old`` belongs to the model. Also its own client."""

    def __init__(self, properties: dict[str, str]) -> None:
        super().__init__(None, "docs", tiny_bundle())
        self.connection.client = lambda: self  # type: ignore[method-assign, assignment, return-value]
        self.indices = self
        self.properties, self.leads_to, self.checks = properties, "old", 0

    def get_alias(self, index: str) -> dict[str, Any]:
        return {index: {"aliases": {"docs": self.properties}}}

    def check(self, *, fresh: bool = False) -> None:
        if not fresh and not self.check_is_due():
            return
        self.checks += 1
        if self.leads_to != "old":
            self._checked = frozenset()
            raise SpaceMismatchError(index="docs", found="another", expected="tiny")
        self._checked, self._checked_at = frozenset({"old"}), time.monotonic()


def test_a_concrete_index_is_written_to_by_its_name_and_checked_once_a_second() -> None:
    index = MovingAlias({})
    target = WriteTarget(index)
    assert [target.name() for _ in range(5)] == ["old"] * 5
    assert index.checks == 1


def test_an_alias_that_has_to_be_written_through_is_checked_before_each_request() -> None:
    index = MovingAlias({"index_routing": "tenant"})
    target = WriteTarget(index)
    assert target.name() == "docs"
    index.leads_to = "new"
    with pytest.raises(SpaceMismatchError):
        target.name()


def test_a_check_that_fails_in_another_thread_never_sends_documents_through_the_alias(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = MovingAlias({})
    target = WriteTarget(index)
    assert target.name() == "old"
    index.leads_to = "new"
    check = index.check

    def not_due_and_overtaken(*, fresh: bool = False) -> None:
        if fresh:
            check(fresh=True)
        index._checked = frozenset()  # by the other thread, between this check and the next line

    monkeypatch.setattr(index, "check", not_due_and_overtaken)
    with pytest.raises(SpaceMismatchError):
        target.name()
