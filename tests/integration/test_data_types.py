"""Indices of bytes and of signs: what is stored, what is found, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document

from cl_haystack.bundle import ModelBundle
from cl_haystack.data.stdlib_docs import read_stdlib_docstrings
from cl_haystack.encoder import Encoder
from cl_haystack.encoder.quantized_vectors import as_bits, as_int8
from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch import OpenSearchIndex, index_documents
from cl_haystack.opensearch.binding import META_KEY
from tests.opensearch_fakes import WordEncoder, tiny_bundle

pytestmark = pytest.mark.integration

MakeIndex = Callable[..., OpenSearchIndex]
SCALE = 300.0


def with_scale(bundle: ModelBundle) -> ModelBundle:
    manifest = bundle.manifest.model_copy(update={"calibration": {"int8_scale": SCALE}})
    return replace(bundle, manifest=manifest)


def corpus(count: int) -> list[Document]:
    words = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "mu",
        "nu",
    ]
    return [
        Document(id=f"d{number}", content=" ".join(words[number % (2 + i) + i] for i in range(6)))
        for number in range(count)
    ]


def stored_vectors(index: OpenSearchIndex) -> dict[str, list[float]]:
    hits = index.connection.client().search(index=index.name, body={"size": 1_000})["hits"]["hits"]
    return {hit["_id"]: hit["_source"]["embedding"] for hit in hits}


@pytest.mark.parametrize("data_type", ["byte", "binary"])
def test_vectors_are_stored_and_asked_in_the_form_of_the_index(make_index: MakeIndex, data_type: str) -> None:
    bundle = with_scale(tiny_bundle(64))
    encoder = WordEncoder(bundle)
    documents = corpus(60)
    index = make_index(bundle, settings={"data_type": data_type})
    assert index_documents(documents, index, encoder).written == 60
    vectors = encoder.encode_documents([document.content or "" for document in documents])
    expected = as_int8(vectors, SCALE) if data_type == "byte" else as_bits(vectors)
    stored = stored_vectors(index)
    assert [stored[document.id] for document in documents] == expected.tolist()
    mapping = index.connection.client().indices.get_mapping(index=index.name)[index.name]["mappings"]
    assert mapping["_meta"][META_KEY]["data_type"] == data_type

    reader = make_index(bundle)  # whoever opens it need not know
    query = encoder.encode_queries(["alpha gamma epsilon"])[0]
    found = reader.search(query, top_k=10)
    if data_type == "byte":
        rows, asked = expected.astype(np.float64), as_int8(query[np.newaxis], SCALE)[0].astype(np.float64)
        cosines = rows @ asked / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked)
        scores = (1 + cosines) / 2
    else:
        differing = np.unpackbits((expected ^ as_bits(query[np.newaxis])).view(np.uint8), axis=1).sum(axis=1)
        scores = 1 / (1 + differing.astype(np.float64))
    np.testing.assert_allclose([hit.score or 0 for hit in found], np.sort(scores)[::-1][:10], atol=1e-4)
    least = float(np.sort(scores)[-10]) - 1e-6
    near = reader.radial(query, min_score=least)
    assert {hit.id for hit in near} == {documents[number].id for number in np.flatnonzero(scores >= least)}
    again = index_documents(documents, reader, encoder)
    assert (again.skipped, again.written) == (60, 0)


def test_own_vectors_of_any_length_become_bytes_too(make_index: MakeIndex) -> None:
    bundle = with_scale(tiny_bundle(8))
    index = make_index(bundle, settings={"data_type": "byte"})
    own = [Document(id="own", content="x", embedding=[30.0, 0.0, 0.0, 40.0, 0.0, 0.0, 0.0, 0.0])]
    index_documents(own, index, WordEncoder(bundle))
    assert stored_vectors(index) == {"own": [127, 0, 0, 127, 0, 0, 0, 0]}  # 180 and 240, cut at 127


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"data_type": "byte"}, "int8_scale"),
        ({"data_type": "binary", "space_type": "l2"}, "hamming and binary go together"),
        ({"data_type": "byte", "encoder": "sq"}, "makes vectors small already"),
        ({"data_type": "byte", "engine": "faiss"}, "no native k-NN libraries|int8_scale"),
    ],
)
def test_what_cannot_work_is_said_before_an_index_is_made(
    make_index: MakeIndex, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make_index(tiny_bundle(8), settings=settings).create()
    assert not make_index(tiny_bundle(8)).exists()


def test_signs_need_eight_dimensions_a_byte(make_index: MakeIndex) -> None:
    with pytest.raises(ConfigurationError, match="multiple of 8 dimensions, found 12"):
        make_index(tiny_bundle(12), settings={"data_type": "binary"}).create()


@pytest.mark.long
def test_a_real_model_finds_nearly_the_same_in_bytes(
    make_index: MakeIndex, base_bundle: Any, index_name: str
) -> None:
    """Questions of 150 docstrings: the right text among the first ten, beside float."""
    entries = [entry for entry in read_stdlib_docstrings() if entry.summary and entry.body][:150]
    documents = [Document(id=str(number), content=entry.body) for number, entry in enumerate(entries)]
    with Encoder.load(base_bundle) as encoder:
        queries = encoder.encode_queries([entry.summary for entry in entries])
        vectors = encoder.encode_documents([document.content or "" for document in documents])
        embedded = [
            replace(document, embedding=vector.tolist())
            for document, vector in zip(documents, vectors, strict=True)
        ]
        found: dict[str, list[list[str]]] = {}
        for data_type in ("float", "byte", "binary"):
            name = f"{index_name}-{data_type}"
            index = make_index(encoder.bundle, name=name, settings={"data_type": data_type})
            try:
                index_documents(embedded, index, encoder)
                hits = index.search_many(query_embeddings=queries, top_k=10)
                found[data_type] = [[hit.id for hit in one] for one in hits]
            finally:
                index.delete()
    hit = {
        data_type: np.mean([str(number) in ids for number, ids in enumerate(lists)])
        for data_type, lists in found.items()
    }
    same = np.mean([len({*a} & {*b}) / 10 for a, b in zip(found["float"], found["byte"], strict=True)])
    print(hit, same)  # noqa: T201
    assert hit["float"] > 0.6
    assert hit["byte"] >= hit["float"] - 0.01
    assert same > 0.95
    assert hit["binary"] >= hit["float"] - 0.1
