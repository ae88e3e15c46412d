"""A stock index becomes ours only if its vectors are the model's."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document
from haystack_integrations.document_stores.opensearch import OpenSearchDocumentStore

from cl_haystack.errors import AdoptionError, ConfigurationError, IndexingError, SpaceMismatchError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from tests.opensearch_fakes import WordEncoder, tiny_bundle
from tests.opensearch_versions import on_every_version

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
Embed = Callable[[list[str]], Any]
MakeStore = Callable[..., list[Document]]
LUCENE = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder(tiny_bundle())


@pytest.fixture
def fill_store(opensearch_url: str, index_name: str) -> Iterator[MakeStore]:
    """Write 200 documents with the stock store: one without text, one without a vector."""
    stores: list[OpenSearchDocumentStore] = []

    def fill(embed: Embed, method: dict[str, Any] = LUCENE) -> list[Document]:
        store = OpenSearchDocumentStore(
            hosts=opensearch_url, index=index_name, embedding_dim=8, http_auth=None, method=method
        )
        stores.append(store)
        texts = [f"text number {number}" for number in range(200)]
        documents = [
            Document(id=f"d{number}", content=text, embedding=vector.tolist(), meta={"title": f"t{number}"})
            for number, (text, vector) in enumerate(zip(texts, embed(texts), strict=True))
        ]
        documents[7] = replace(documents[7], content=None)
        documents[8] = replace(documents[8], embedding=None)
        store.write_documents(documents)
        return documents

    yield fill
    for store in stores:
        store.close()


@on_every_version
def test_right_vectors_are_adopted_and_from_then_on_watched(
    make_index: MakeIndex, fill_store: MakeStore, encoder: WordEncoder
) -> None:
    documents = fill_store(encoder.encode_documents)
    index = make_index()
    client = index.connection.client()
    client.indices.put_mapping(index=index.name, body={"_meta": {"owner": "somebody"}})
    with pytest.raises(IndexingError, match="cl-haystack adopt"):
        index.open()
    (report,) = index.adopt(encoder, sample=50)
    assert report.sampled == 50
    assert report.lowest_cosine > 0.99999
    binding = make_index().open()
    assert binding is not None
    assert binding.created_by.startswith("adopted by cl-haystack")
    assert (
        client.indices.get_mapping(index=index.name)[index.name]["mappings"]["_meta"]["owner"] == "somebody"
    )
    assert index.search(encoder.encode_queries(["text number 5"])[0], top_k=1)[0].id == documents[5].id
    assert index_documents([Document(content="ours")], index, encoder).written == 1
    other = tiny_bundle(name="other", space="c")
    with pytest.raises(SpaceMismatchError):
        make_index(other).open()
    with pytest.raises(SpaceMismatchError):
        make_index(other).adopt(WordEncoder(other))
    with pytest.raises(IndexingError, match="already"):
        index.adopt(encoder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda encode, texts: encode([f"{text}!" for text in texts]), r"198 of 198.*lowest cosine"),
        (lambda encode, texts: encode([f"passage: {text}" for text in texts]), r"198 of 198"),
        (lambda encode, texts: encode(texts) * 3, r"198 of 198.*3 times as long"),
        (lambda encode, texts: np.roll(encode(texts), 1, axis=0), "198 of 198"),
        (lambda encode, texts: np.concatenate([encode(texts[:-1]), encode(["x"])]), r"1 of 198.*'d199'"),
    ],
    ids=["other model", "prefix", "not normalized", "of other documents", "one of all"],
)
def test_wrong_vectors_are_not_adopted(
    make_index: MakeIndex, fill_store: MakeStore, encoder: WordEncoder, change: Any, said: str
) -> None:
    fill_store(lambda texts: change(encoder.encode_documents, texts))
    index = make_index()
    with pytest.raises(AdoptionError, match=said) as caught:
        index.adopt(encoder, sample=1000)
    assert caught.value.differing
    with pytest.raises(IndexingError, match="does not say which model"):
        index.open()


def test_meta_fields_that_were_embedded_are_named(
    make_index: MakeIndex, fill_store: MakeStore, encoder: WordEncoder
) -> None:
    fill_store(
        lambda texts: encoder.encode_documents([f"t{number} {text}" for number, text in enumerate(texts)])
    )
    with pytest.raises(AdoptionError, match="meta"):
        make_index().adopt(encoder)
    (report,) = make_index().adopt(encoder, meta_fields_to_embed=["title"], embedding_separator=" ")
    assert report.sampled == 100


def test_what_cannot_be_compared_is_said(
    make_index: MakeIndex, fill_store: MakeStore, encoder: WordEncoder
) -> None:
    with pytest.raises(IndexingError, match="does not exist"):
        make_index().adopt(encoder)
    fill_store(lambda texts: encoder.encode_documents(texts), method={"name": "hnsw", "engine": "lucene"})
    loose = tiny_bundle(similarity="dot", normalize=False)
    with pytest.raises(ConfigurationError, match=r"space_type l2 ranks otherwise.*use innerproduct"):
        make_index(loose).adopt(WordEncoder(loose))
    with pytest.raises(IndexingError, match="float vectors of 8 dimensions"):
        make_index(tiny_bundle(16)).adopt(WordEncoder(tiny_bundle(16)))
    index = make_index()
    index.connection.client().delete_by_query(
        index=index.name, body={"query": {"match_all": {}}}, params={"refresh": "true"}
    )
    with pytest.raises(IndexingError, match="no documents with content and embedding"):
        index.adopt(encoder)


@pytest.mark.slow
def test_the_command_adopts_an_index_of_the_real_model(
    base_bundle: Any, opensearch_url: str, index_name: str, make_index: MakeIndex
) -> None:
    from cl_haystack.encoder import Encoder

    texts = [f"The {name} keeps its elements in order." for name in ("heap", "list", "tuple", "deque")]
    with Encoder.load(base_bundle) as encoder:
        vectors = encoder.encode_documents(texts)
    store = OpenSearchDocumentStore(
        hosts=opensearch_url, index=index_name, embedding_dim=vectors.shape[1], http_auth=None, method=LUCENE
    )
    store.write_documents(
        [Document(content=text, embedding=row.tolist()) for text, row in zip(texts, vectors, strict=True)]
    )
    store.close()
    command = [
        sys.executable,
        "-c",
        "from cl_haystack.cli.main import main; main()",
        "adopt",
        str(base_bundle),
    ]
    options = ["--index", index_name, "--url", opensearch_url, "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    (report,) = json.loads(done.stdout)
    assert (report["sampled"], report["min_cosine"]) == (4, 0.999)
    assert report["lowest_cosine"] > 0.9999
