"""Documents to vectors."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import ComponentDevice
from tqdm import tqdm

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch.documents import embedding_text
from cl_haystack.progress import Progress
from haystack_integrations.components.embedders.cl_haystack.component_encoder import ComponentEncoder


@component
class CLDocumentEmbedder:
    """Embeds Documents with a cl-haystack model bundle.

    The texts of a run are grouped by length, whatever their number; a ``batch_size`` is not needed.
    A Document without text keeps ``embedding=None``: there is nothing to embed.
    To embed a string, use CLTextEmbedder with the same bundle.
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        device: ComponentDevice | None = None,
        truncate_dim: int | None = None,
        prefix: str = "",
        suffix: str = "",
        batch_size: int | None = None,
        progress_bar: bool = True,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        """Create the component; nothing is loaded yet.

        :param bundle: directory of the model bundle.
        :param device: where to run; by default the CPU.
        :param truncate_dim: keep only the first dimensions of a vector, as the index's settings do.
        :param prefix: put before each text, after the document prefix that the bundle states itself.
        :param suffix: put after each text.
        :param batch_size: most Documents that the encoder gets at a time; None gives it all, the fastest way.
            The vectors are the same.
        :param progress_bar: show a progress bar.
        :param meta_fields_to_embed: meta fields that are embedded before the content.
        :param embedding_separator: stands between them.
        """
        if batch_size is not None and batch_size < 1:
            raise ConfigurationError(f"batch_size is {batch_size}, expected a whole number from 1, or None")
        self.bundle = bundle
        self.device = device
        self.truncate_dim = truncate_dim
        self.prefix = prefix
        self.suffix = suffix
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self._encoder = ComponentEncoder(bundle, device, truncate_dim)

    def warm_up(self) -> None:
        """Load the model, unless this process has it already."""
        self._encoder.load()

    async def warm_up_async(self) -> None:
        """Do what :meth:`warm_up` does without holding up the event loop."""
        await self._encoder.load_async()

    def close(self) -> None:
        """Release the model; the next run loads it again."""
        self._encoder.close()

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain types.

        :returns: a dictionary for a pipeline's YAML.
        """
        return default_to_dict(
            self,
            bundle=str(self.bundle),
            device=self.device,
            truncate_dim=self.truncate_dim,
            prefix=self.prefix,
            suffix=self.suffix,
            batch_size=self.batch_size,
            progress_bar=self.progress_bar,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CLDocumentEmbedder":
        """Return the component from what :meth:`to_dict` wrote.

        :param data: the dictionary.
        :returns: the component.
        """
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed Documents; the ones given stay as they are.

        :param documents: the Documents.
        :returns: ``documents``, the same with embeddings, and ``meta`` with the model's name and identity.
        :raises TypeError: ``documents`` is something else.
        """
        if not isinstance(documents, list) or not all(isinstance(entry, Document) for entry in documents):
            raise TypeError(
                "CLDocumentEmbedder expects a list of Documents as input. "
                "To embed a string, use CLTextEmbedder."
            )
        self.warm_up()
        by_position = self._embed(documents)
        bundle = self._encoder.load().bundle
        return {
            "documents": [
                replace(document, embedding=by_position[position])
                if position in by_position
                else replace(document)
                for position, document in enumerate(documents)
            ],
            "meta": {"model": bundle.name, "space_id": bundle.space_id, "fingerprint": bundle.fingerprint},
        }

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Do what :meth:`run` does in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.run, documents)

    def _embed(self, documents: list[Document]) -> dict[int, list[float]]:
        """Return the vectors by position; of a Document without text there is none."""
        texts = [
            embedding_text(document, self.meta_fields_to_embed, self.embedding_separator)
            for document in documents
        ]
        positions = [position for position, text in enumerate(texts) if text.strip()]
        step = self.batch_size or max(len(positions), 1)
        embedded: dict[int, list[float]] = {}
        with tqdm(total=len(positions), disable=not self.progress_bar, desc="Calculating embeddings") as bar:

            def show(progress: Progress) -> None:
                bar.update(len(embedded) + progress.done - bar.n)

            for start in range(0, len(positions), step):
                batch = positions[start : start + step]
                ready = [self.prefix + texts[position] + self.suffix for position in batch]
                rows = self._encoder.encode_documents(ready, on_progress=show).tolist()
                embedded |= zip(batch, rows, strict=True)
        return embedded
