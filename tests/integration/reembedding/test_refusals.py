"""What cannot be done is said before anything is embedded."""

import threading

import pytest
from opensearchpy import OpenSearch

from cl_haystack.errors import IndexingError, ServerUnavailableError, SpaceMismatchError
from cl_haystack.opensearch import OpenSearchIndex, reembed
from cl_haystack.opensearch.patience import Patience
from cl_haystack.opensearch.reembedding import lease as lease_module
from cl_haystack.opensearch.reembedding.lease import Lease
from tests.reembedding_job import NEW, OLD, SpacedEncoder
from tests.reembedding_site import Site, documents

pytestmark = pytest.mark.integration


def test_what_cannot_be_done_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SpacedEncoder(NEW)
    with pytest.raises(IndexingError, match=f"alias '{site.alias}' does not exist"):
        reembed(site.open(NEW), encoder)
    site.fill(documents(5))
    needless = reembed(site.open(OLD), SpacedEncoder(OLD))
    assert (needless.needless, needless.moved, site.leads_to()) == (True, False, [site.old])
    with pytest.raises(SpaceMismatchError):
        reembed(site.open(NEW), SpacedEncoder(OLD))
    monkeypatch.setattr(lease_module, "EXPIRES_AFTER_S", 8.0)
    with (
        Lease(site.connection, site.alias, Patience(1, threading.Event())),
        pytest.raises(IndexingError, match=r"is being re-embedded on .*process"),
    ):
        reembed(site.open(NEW), encoder)
    site.client.indices.create(index=f"{site.alias}-reembed-lease")
    with pytest.raises(IndexingError, match="that name for a while"):
        reembed(site.open(NEW), encoder)
    site.client.indices.delete(index=f"{site.alias}-reembed-lease")
    template = {
        "index_patterns": [f"{site.alias}-*"],
        "template": {"aliases": {site.alias: {}}},
        "priority": 500,
    }
    site.client.indices.put_index_template(name=site.alias, body=template)
    with pytest.raises(IndexingError, match="index template"):
        reembed(site.open(NEW), encoder)
    site.client.indices.delete_index_template(name=site.alias)
    assert site.leads_to() == [site.old]
    site.client.indices.create(index=site.new)
    with pytest.raises(IndexingError, match=rf"'{site.new}'.*made otherwise; delete it"):
        reembed(site.open(NEW), encoder)
    site.client.indices.put_alias(index=site.new, name=site.alias)
    with pytest.raises(IndexingError, match="leads to 2 indices"):
        reembed(site.open(NEW), encoder)
    assert encoder.encoded == []
    nowhere = OpenSearchIndex("http://127.0.0.1:9", "a", NEW)
    with pytest.raises(ServerUnavailableError):
        reembed(nowhere, encoder)


def test_full_disks_are_noticed_before_the_work(site: Site) -> None:
    class FullDisks(OpenSearch):
        """The real client, but its server says that its disks are full."""

        def __init__(self, url: str) -> None:
            super().__init__(hosts=[url])
            self.cat.allocation = lambda **unused: [{"disk.avail": "100"}]  # type: ignore[method-assign]

    site.fill(documents(5))
    encoder = SpacedEncoder(NEW)
    with pytest.raises(IndexingError, match=r"needs about as much disk space.*0\.0 GB left"):
        reembed(OpenSearchIndex(FullDisks(site.url), site.alias, NEW), encoder)
    assert encoder.encoded == []
