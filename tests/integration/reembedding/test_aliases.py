"""The way back, and indices that become aliases."""

from typing import Any

import pytest
from haystack import Document

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch import index_documents, make_alias, reembed, roll_back
from cl_haystack.opensearch.reembedding import alias_making, lease, rolling_back
from tests.opensearch_versions import on_every_version
from tests.reembedding_job import NEW, OLD, SpacedEncoder
from tests.reembedding_site import Site, documents

pytestmark = pytest.mark.integration


def refuse(*unused: Any) -> None:
    raise IndexingError("refused")


@on_every_version
def test_rolling_back_says_what_differs(site: Site) -> None:
    site.fill(documents(40))
    reembed(site.open(NEW), SpacedEncoder(NEW))
    changed = [Document(id="d0", content="changed"), *documents(10, start=35)]  # d35 to d39 unchanged
    index_documents(changed, site.open(NEW), SpacedEncoder(NEW))
    site.client.delete(index=site.alias, id="d1")
    report = roll_back(site.connection, site.alias)
    assert (report.added, report.changed, report.deleted) == (5, 1, 1)
    assert report.differing == 7
    assert site.leads_to() == [site.old]
    assert (site.is_blocked(site.old), site.is_blocked(site.new)) == (False, True)
    assert set(site.contents()) == {f"d{number}" for number in range(40)}
    with pytest.raises(IndexingError, match=rf"nothing to go back to; {site.new}, re-embedded from it"):
        roll_back(site.connection, site.alias)


def test_there_is_no_way_back_to_an_index_that_is_gone(site: Site) -> None:
    site.fill(documents(5))
    reembed(site.open(NEW), SpacedEncoder(NEW))
    site.client.indices.delete(index=site.old)
    with pytest.raises(
        IndexingError, match=f"'{site.old}', from which '{site.new}' was re-embedded, was deleted;"
    ):
        roll_back(site.connection, site.alias)
    site.client.indices.create(index=site.old)
    with pytest.raises(IndexingError, match="was deleted and made again"):
        roll_back(site.connection, site.alias)
    assert site.leads_to() == [site.new]
    assert not site.is_blocked(site.new)


def test_a_way_back_that_fails_leaves_the_index_open_or_says_that_it_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fake of servers that refuse: first to move the alias, then to lift the block as well."""
    site.fill(documents(5))
    reembed(site.open(NEW), SpacedEncoder(NEW))
    monkeypatch.setattr(rolling_back, "move_alias", refuse)
    with pytest.raises(IndexingError, match="refused"):
        roll_back(site.connection, site.alias)
    assert (site.leads_to(), site.is_blocked(site.new)) == ([site.new], False)
    assert "still be blocked" not in caplog.text
    monkeypatch.setattr(lease, "lift_block", refuse)
    with pytest.raises(IndexingError, match="refused"):
        roll_back(site.connection, site.alias)
    assert site.is_blocked(site.new)
    assert f"'{site.new}' may still be blocked against writes (refused)" in caplog.text
    monkeypatch.undo()
    assert roll_back(site.connection, site.alias).old == site.old


@on_every_version
def test_an_index_becomes_an_alias_of_its_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(documents(25), aliased=False)
    before = site.contents()
    with pytest.raises(IndexingError, match=r"is an index, expected an alias.*--make-alias"):
        reembed(site.open(NEW), SpacedEncoder(NEW))
    with monkeypatch.context() as failing:  # as if it died once all is prepared
        failing.setattr(alias_making, "_take_place", refuse)
        failing.setattr(lease, "lift_block", refuse)
        with pytest.raises(IndexingError, match="refused"):
            make_alias(site.connection, site.alias)
        assert site.is_blocked(site.alias)
    first = f"{site.alias}-{'1' * 8}"
    assert make_alias(site.connection, site.alias) == first
    assert make_alias(site.connection, site.alias) == first
    assert site.leads_to() == [first]
    assert site.contents() == before
    assert index_documents(documents(1, start=100), site.open(OLD), SpacedEncoder(OLD)).written == 1
    assert reembed(site.open(NEW), SpacedEncoder(NEW)).documents == 26
    assert index_documents(documents(2, start=200), site.open(NEW), SpacedEncoder(NEW)).written == 2
    back = reembed(site.open(OLD), SpacedEncoder(OLD))  # instead of rolling back: takes along what is new
    assert (back.new, back.moved, back.documents, back.embedded) == (first, True, 28, 2)
