"""What a re-embedded index holds: the same documents, in the same form, with other vectors."""

from dataclasses import replace

import pytest

from cl_haystack.errors import SpaceMismatchError
from cl_haystack.opensearch import index_documents, reembed
from tests.opensearch_versions import on_every_version
from tests.reembedding_job import NEW, OLD, SpacedEncoder
from tests.reembedding_site import Site, assert_vectors_are_of, documents, without_vectors

pytestmark = pytest.mark.integration


@on_every_version
def test_documents_are_what_they_were_but_for_the_vector(site: Site) -> None:
    site.fill(documents(30))
    client = site.client
    strange = {
        "id": "s",
        "content": "strange",
        "deep": {"a": [{"b": 1.5}, {"b": 2.0}]},
        "meta": {"k": "v"},
        "big": 2**60,
    }
    client.index(index=site.alias, id="strange", routing="r7", body=strange)
    client.index(index=site.alias, id="textless", body={"n": 5, "embedding": [1.0] * 8})
    client.indices.put_settings(index=site.old, body={"refresh_interval": "7s"})
    before = site.contents()
    report = reembed(site.open(NEW), SpacedEncoder(NEW))
    after = site.contents()
    assert without_vectors(after) == without_vectors(before)
    assert after["strange"]["_routing"] == "r7"
    assert after["textless"]["embedding"] is None
    assert_vectors_are_of(SpacedEncoder(NEW), after)
    assert (report.documents, report.embedded, report.without_text) == (32, 31, 1)
    assert report.sampled == 32
    assert report.lowest_cosine is not None
    assert report.lowest_cosine > 0.999
    made = client.indices.get(index=site.new)[site.new]
    settings, properties = made["settings"]["index"], made["mappings"]["properties"]
    assert (settings["number_of_shards"], settings["number_of_replicas"]) == ("2", "0")
    assert settings["refresh_interval"] == "7s"
    assert properties["content"]["analyzer"] == "english"
    assert properties["deep"]["properties"]["a"]["properties"]["b"]["type"] == "float"


@pytest.mark.parametrize("data_type", ["byte", "binary"])
def test_the_form_of_the_vectors_stays(site: Site, data_type: str) -> None:
    scaled = NEW.manifest.model_copy(update={"calibration": {"int8_scale": 200.0}})
    old = replace(OLD, manifest=OLD.manifest.model_copy(update={"calibration": {"int8_scale": 200.0}}))
    new = replace(NEW, manifest=scaled)
    index_documents(
        documents(20), site.open(old, site.old, settings={"data_type": data_type}), SpacedEncoder(old)
    )
    site.client.indices.put_alias(index=site.old, name=site.alias)
    report = reembed(site.open(new), SpacedEncoder(new))
    assert (report.documents, report.sampled, report.lowest_cosine) == (20, 20, pytest.approx(1.0))
    index = site.open(new)
    assert index.open().data_type == data_type  # type: ignore[union-attr]
    assert index.vector_form.data_type == data_type
    stored, before = site.contents(site.new), site.contents(site.old)
    assert stored["d1"]["embedding"] != before["d1"]["embedding"]
    assert all(isinstance(number, int) for number in stored["d1"]["embedding"])


def test_what_is_written_with_the_new_model_later_is_known_as_unchanged(site: Site) -> None:
    site.fill(documents(20))
    reembed(site.open(NEW), SpacedEncoder(NEW))
    encoder = SpacedEncoder(NEW)
    assert index_documents(documents(20), site.open(NEW), encoder).skipped == 20
    with pytest.raises(SpaceMismatchError):
        index_documents(documents(1), site.open(OLD), SpacedEncoder(OLD))


def test_a_stock_index_without_binding_can_be_re_embedded(site: Site) -> None:
    stock = {
        "settings": {"index.knn": True},
        "mappings": {
            "properties": {
                "embedding": {
                    "type": "knn_vector",
                    "dimension": 3,
                    "method": {"name": "hnsw", "engine": "lucene"},
                },
                "content": {"type": "text"},
            }
        },
    }
    site.client.indices.create(index=site.old, body={**stock, "aliases": {site.alias: {}}})
    for number in range(5):
        body = {"id": f"d{number}", "content": f"text {number}", "embedding": [1.0, 2.0, number]}
        site.client.index(index=site.old, id=f"d{number}", body=body)
    assert reembed(site.open(NEW), SpacedEncoder(NEW)).documents == 5
    assert_vectors_are_of(SpacedEncoder(NEW), site.contents())
