"""The index as its users see it: give it a server, a name and a model; write to it and search it."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haystack import Document
from haystack.utils import Secret
from opensearchpy import AsyncOpenSearch, OpenSearch

from cl_haystack.bundle import ModelBundle
from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.adoption import DEFAULT_SAMPLE, AdoptionReport, adopt
from cl_haystack.opensearch.connection import (
    DEFAULT_PASSWORD,
    DEFAULT_TIMEOUT_S,
    DEFAULT_USERNAME,
    Connection,
)
from cl_haystack.opensearch.documents import read_hit
from cl_haystack.opensearch.mapping import EMBEDDING_FIELD
from cl_haystack.opensearch.queries import ids_body
from cl_haystack.opensearch.search_request import SearchRequest
from cl_haystack.opensearch.searching import SearchableIndex
from cl_haystack.opensearch.settings import IndexSettings

if TYPE_CHECKING:
    from cl_haystack.encoder import TextEncoder

_IDS_IN_A_SEARCH = 1_000


class OpenSearchIndex(SearchableIndex):
    """An index, or an alias, whose vectors come from one model.

    The constructor looks at values only; files and servers are touched at the first use.

    :param client_or_url: a ready opensearch-py client (for AWS SigV4 and the like) or an address; None reads
        ``OPENSEARCH_URL``, else uses http://127.0.0.1:9200.
    :param name: name of the index or of an alias.
    :param bundle: the model, loaded or as a path.
    :param username: by default the environment's ``OPENSEARCH_USERNAME``, where that is set.
    :param password: by default the environment's ``OPENSEARCH_PASSWORD``, where that is set.
    :param ca_certs: certificates of the authority that signed the server's.
    :param verify_certs: check the server's certificate.
    :param timeout_s: seconds that one request may take.
    :param async_client: ready asynchronous client, to go with a ready client.
    :param settings: how a new index is made, such as ``{"number_of_shards": 3, "analyzer": "english"}``; of
        an existing one, ``truncate_dim`` and ``ef_search``: that it was made otherwise is warned of.
    :param require_binding: refuse an index that carries no binding, such as one made by
        ``OpenSearchDocumentStore``; with False its dimension alone is compared, and a space type that ranks
        otherwise than the model is warned of. :meth:`adopt` gives it one.
    :raises ConfigurationError: a value or a combination cannot work on any server.
    """

    def __init__(
        self,
        client_or_url: OpenSearch | str | None,
        name: str,
        bundle: ModelBundle | str | Path,
        *,
        username: Secret | None = DEFAULT_USERNAME,
        password: Secret | None = DEFAULT_PASSWORD,
        ca_certs: str | Path | None = None,
        verify_certs: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        async_client: AsyncOpenSearch | None = None,
        settings: IndexSettings | Mapping[str, Any] | None = None,
        require_binding: bool = True,
    ) -> None:
        connection = Connection(
            client_or_url,
            username=username,
            password=password,
            ca_certs=ca_certs,
            verify_certs=verify_certs,
            timeout_s=timeout_s,
            async_client=async_client,
        )
        super().__init__(
            connection,
            name,
            bundle,
            settings=IndexSettings.of(settings),
            require_binding=require_binding,
        )

    def adopt(
        self,
        encoder: "TextEncoder",
        *,
        sample: int = DEFAULT_SAMPLE,
        seed: int = 0,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = "\n",
    ) -> list[AdoptionReport]:
        """Bind an existing index to the model, after checking that its vectors come from it.

        Documents drawn at random are embedded again; the cosine of each with its stored vector must reach
        ``adoption.MIN_COSINE`` for the bundle's precision, and the lengths must agree within 1 %. Use the
        fp32 bundle where there is one: its threshold is the strictest. Only the mapping changes: its
        ``_meta``, and a field for hashes, by which documents written from then on are known as unchanged.

        :param encoder: the encoder of the index's bundle.
        :param sample: documents to compare in each index behind the name; all, where there are fewer.
        :param seed: another one draws other documents.
        :param meta_fields_to_embed: meta fields that were embedded before the content.
        :param embedding_separator: stood between them.
        :returns: what was compared, for each index that is bound now.
        :raises AdoptionError: vectors differ; the index stays as it was.
        :raises SpaceMismatchError: the index belongs to another model.
        :raises IndexingError: there is no such index, it has a binding already, or nothing to compare.
        """
        return adopt(
            self,
            encoder,
            sample=sample,
            seed=seed,
            meta_fields=meta_fields_to_embed,
            separator=embedding_separator,
        )

    def get_documents(self, ids: Sequence[str], *, with_embedding: bool = False) -> list[Document]:
        """Return stored documents by their ids, written ones even before a refresh.

        One that was written with a ``_routing`` is found once searches can see it.

        :param ids: ids in any number.
        :param with_embedding: return the documents' vectors too.
        :returns: in the order of ``ids``; those that do not exist are left out.
        """
        params = {} if with_embedding else {"_source_excludes": EMBEDDING_FIELD}
        hits = self._mget([{"_id": name} for name in dict.fromkeys(ids)], params)
        found = {hit["_id"]: read_hit(hit) for hit in hits}
        routed = [name for name in dict.fromkeys(ids) if name not in found]
        for start in range(0, len(routed), _IDS_IN_A_SEARCH):
            body = ids_body(routed[start : start + _IDS_IN_A_SEARCH], with_embedding=with_embedding)
            found |= {document.id: document for document in self._run(SearchRequest(body))}
        return [found[name] for name in ids if name in found]

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain types, for a pipeline's YAML.

        :returns: a plain dictionary; secrets as names of environment variables.
        :raises ConfigurationError: a ready client or a literal password cannot be written down.
        """
        plain = {
            **self.connection.to_dict(),
            "name": self.name,
            "bundle": str(self.bundle_path),
            "settings": self.settings.model_dump(mode="json", exclude_unset=True),
            "require_binding": self._require_binding,
        }
        return copy.deepcopy(plain)  # two components with one index would share parts in the YAML (&id001)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "OpenSearchIndex":
        """Return an index from what :meth:`to_dict` wrote; what is left out takes its default.

        :param data: the plain dictionary; ``name`` and ``bundle`` are needed.
        :returns: the index, not yet opened.
        :raises ConfigurationError: an entry is missing or unknown.
        """
        arguments = dict(data)
        for secret in ("username", "password"):
            if isinstance(arguments.get(secret), dict):
                arguments[secret] = Secret.from_dict(arguments[secret])
        try:
            name, bundle = arguments.pop("name"), arguments.pop("bundle")
            return cls(arguments.pop("url", None), name, bundle, **arguments)
        except KeyError as error:
            raise ConfigurationError(f"the description of an index has no entry {error}") from error
        except TypeError as error:
            raise ConfigurationError(f"the description of an index cannot be used: {error}") from error
