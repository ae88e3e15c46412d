"""A text to a vector, as a query."""

from pathlib import Path
from typing import Any

from haystack import component, default_from_dict, default_to_dict
from haystack.utils import ComponentDevice

from cl_haystack.encoder import Vectors
from haystack_integrations.components.embedders.cl_haystack.component_encoder import ComponentEncoder


@component
class CLTextEmbedder:
    """Embeds a text, usually a query, with a cl-haystack model bundle.

    To embed Documents, use CLDocumentEmbedder with the same bundle.
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
    ) -> None:
        """Create the component; nothing is loaded yet.

        :param bundle: directory of the model bundle.
        :param device: where to run; by default the CPU.
        :param truncate_dim: keep only the first dimensions of a vector, as the index's settings do.
        :param prefix: put before each text, after the query prefix that the bundle states itself.
        :param suffix: put after each text.
        :param batch_size: taken because other text embedders take it; a run has one text.
        :param progress_bar: likewise; one text needs no bar.
        """
        self.bundle = bundle
        self.device = device
        self.truncate_dim = truncate_dim
        self.prefix = prefix
        self.suffix = suffix
        self.batch_size = batch_size
        self.progress_bar = progress_bar
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
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CLTextEmbedder":
        """Return the component from what :meth:`to_dict` wrote.

        :param data: the dictionary.
        :returns: the component.
        """
        return default_from_dict(cls, data)

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """Embed one text.

        :param text: the text.
        :returns: ``embedding``, and ``meta`` with the model's name and identity.
        :raises TypeError: ``text`` is something else.
        """
        text = self._checked(text)
        return self._output(self._encoder.encode_queries([text])[0])

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Do what :meth:`run` does without holding up the event loop."""
        text = self._checked(text)
        return self._output(await self._encoder.encode_query_async(text))

    def _checked(self, text: str) -> str:
        """Return the text to encode."""
        if not isinstance(text, str):
            raise TypeError(
                f"CLTextEmbedder expects a string as input, not {type(text).__name__}. "
                "To embed a list of Documents, use CLDocumentEmbedder."
            )
        return self.prefix + text + self.suffix

    def _output(self, vector: Vectors) -> dict[str, Any]:
        bundle = self._encoder.load().bundle
        return {
            "embedding": vector.tolist(),
            "meta": {"model": bundle.name, "space_id": bundle.space_id, "fingerprint": bundle.fingerprint},
        }
