"""Documents into an index, embedded on the way where they are not yet."""

import asyncio
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import ComponentDevice

from cl_haystack.opensearch import OpenSearchIndex, index_documents
from haystack_integrations.components.embedders.cl_haystack.component_encoder import ComponentEncoder
from haystack_integrations.components.retrievers.cl_haystack.serialization import require_index, with_index


@component
class CLOpenSearchWriter:
    """Writes Documents to an OpenSearch index that is bound to a model bundle, and makes it if need be.

    Documents without an embedding are embedded with the index's own bundle; an embedder before the writer is
    not needed. Those that carry one are written as they are.
    """

    def __init__(
        self,
        index: OpenSearchIndex,
        *,
        policy: DuplicatePolicy = DuplicatePolicy.NONE,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        device: ComponentDevice | None = None,
    ) -> None:
        """Create the component; nothing is contacted or loaded yet.

        :param index: the index to write to.
        :param policy: what happens to Documents that are there already: OVERWRITE replaces them, SKIP keeps
            them, FAIL and NONE (as with Haystack's OpenSearchDocumentStore) raise DuplicateDocumentError.
        :param meta_fields_to_embed: meta fields that are embedded before the content.
        :param embedding_separator: stands between them.
        :param device: where to embed; by default the CPU.
        """
        self.index = require_index(index, "CLOpenSearchWriter")
        self.policy = policy
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self.device = device
        self._encoder = ComponentEncoder(index.bundle_path, device, index.settings.truncate_dim)

    def close(self) -> None:
        """Close the connection and release the model; the next run opens both again."""
        self.index.close()
        self._encoder.close()

    async def close_async(self) -> None:
        """Close the connection and release the model; the next run opens both again."""
        await self.index.close_async()
        self._encoder.close()

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain types.

        :returns: a dictionary for a pipeline's YAML.
        """
        return default_to_dict(
            self,
            index=self.index,
            policy=self.policy.name,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
            device=self.device,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CLOpenSearchWriter":
        """Return the component from what :meth:`to_dict` wrote.

        :param data: the dictionary.
        :returns: the component.
        """
        data = with_index(data)
        policy = data["init_parameters"].get("policy")
        if isinstance(policy, str):
            parameters = {**data["init_parameters"], "policy": DuplicatePolicy[policy]}
            data = {**data, "init_parameters": parameters}
        return default_from_dict(cls, data)

    @component.output_types(documents_written=int)
    def run(self, documents: list[Document], policy: DuplicatePolicy | None = None) -> dict[str, int]:
        """Write Documents and make them visible to searches.

        :param documents: the Documents.
        :param policy: what happens to Documents that are there already; None takes the component's.
        :returns: ``documents_written``.
        :raises TypeError: ``documents`` is something else.
        :raises DuplicateDocumentError: Documents are there already, and the policy is FAIL or NONE.
        :raises RejectedDocumentsError: Documents were refused; all others were written.
        :raises SpaceMismatchError: the index belongs to another model.
        """
        if not isinstance(documents, list) or not all(isinstance(entry, Document) for entry in documents):
            raise TypeError(
                "CLOpenSearchWriter expects a list of Documents as input. To search for a string, use "
                "CLOpenSearchRetriever; to embed one, use CLTextEmbedder."
            )
        policy = self.policy if policy is None else policy
        report = index_documents(
            documents,
            self.index,
            self._encoder,
            policy=policy,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )
        # OVERWRITE counts what lies in the index unchanged, as Haystack's writer does, which writes it again.
        unchanged = report.skipped if policy == DuplicatePolicy.OVERWRITE else 0
        return {"documents_written": report.written + unchanged}

    @component.output_types(documents_written=int)
    async def run_async(
        self, documents: list[Document], policy: DuplicatePolicy | None = None
    ) -> dict[str, int]:
        """Do what :meth:`run` does in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.run, documents, policy)
