"""What the server that answers can do. It is asked, because a version alone does not say it.

The k-NN plugin does its work in Java with Lucene, and in native libraries with faiss. A server without
those accepts a faiss index and fails when the first vectors arrive, so that is looked at before an index is
made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cl_haystack.errors import ConfigurationError, IndexingError, ServerUnavailableError
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.settings import IndexSettings

OLDEST_VERSION = (2, 19)
_KNN_PLUGIN = "org.opensearch.knn.plugin.KNNPlugin"


@dataclass(frozen=True, slots=True)
class ServerCapabilities:
    """Facts about a server; None where it may not be asked (a serverless one, a user without the right).

    :param version: major and minor version.
    :param knn: whether the k-NN plugin is on every node.
    :param native_knn: whether its native libraries, which faiss needs, are there as well.
    """

    version: tuple[int, int] | None = None
    knn: bool | None = None
    native_knn: bool | None = None

    @classmethod
    def ask(cls, client: Any, url: str) -> "ServerCapabilities":
        """Ask a server.

        :param client: an opensearch-py client.
        :param url: the server's address, for messages.
        :returns: what it said.
        :raises ServerUnavailableError: no OpenSearch answers, or one that is too old.
        """
        version = _version(client, url)
        if version is not None and version < OLDEST_VERSION:
            found, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST_VERSION))
            raise ServerUnavailableError(url, f"is version {found}, expected {needed} or later; upgrade it")
        plugins = _knn_plugins(client, url)
        if plugins is None:
            return cls(version)
        # An installed plugin brings its libraries along and states its version; one that is on the class path
        # of an embedded server, such as ours, is its Java part alone.
        installed = [plugin is not None and plugin.get("version") != "NA" for plugin in plugins]
        return cls(version, all(plugin is not None for plugin in plugins), all(installed))

    def check(self, settings: IndexSettings, url: str) -> None:
        """Refuse settings that this server cannot do.

        :param settings: of an index that is going to be made.
        :param url: the server's address, for the message.
        :raises ConfigurationError: they cannot work there.
        """
        if self.knn is False:
            raise ConfigurationError(
                f"OpenSearch at {url} has no k-NN plugin on some node, so it stores no vectors; install "
                "opensearch-knn there, or use another server"
            )
        if settings.chosen_engine == "faiss" and self.native_knn is False and not settings.is_exact:
            raise ConfigurationError(
                f"OpenSearch at {url} has no native k-NN libraries, which engine faiss, mode on_disk and "
                "compression_level 2x, 8x, 16x and 32x need; use engine lucene (with compression_level 4x or "
                "encoder sq to save memory), or a server with the full plugin"
            )


def _version(client: Any, url: str) -> tuple[int, int] | None:
    try:
        with opensearch_errors(url):
            info = client.info()
    except IndexingError:  # forbidden, or unknown, as on a serverless one
        return None
    stated = info.get("version") if isinstance(info, Mapping) else None
    if not isinstance(stated, Mapping) or stated.get("distribution") != "opensearch":
        raise ServerUnavailableError(url, "what answers there is not OpenSearch; correct the address")
    major, minor, *_ = str(stated.get("number")).split(".")
    return int(major), int(minor)


def _knn_plugins(client: Any, url: str) -> list[Mapping[str, Any] | None] | None:
    """Return the k-NN plugin of each node, None for a node without it; None where one may not ask."""
    try:
        with opensearch_errors(url):
            nodes = client.nodes.info(metric="plugins", params={"filter_path": "nodes.*.plugins"})
    except IndexingError:
        return None
    listed = [node.get("plugins", []) for node in nodes.get("nodes", {}).values()]
    if not any(listed):
        return None
    return [
        next((plugin for plugin in plugins if plugin.get("classname") == _KNN_PLUGIN), None)
        for plugins in listed
    ]
