"""An ``OpenSearchIndex`` inside a component's YAML: a plain dictionary, not a class to import.

Haystack imports only classes of modules that it trusts, and ``cl_haystack`` is none of them; so the
dictionary carries no ``type``, and our components, which are trusted, read it themselves.
"""

from typing import Any

from cl_haystack.errors import ConfigurationError
from cl_haystack.opensearch import OpenSearchIndex


def require_index(index: Any, component_name: str) -> OpenSearchIndex:
    """Return ``index`` if it is one.

    :param index: what a component was given.
    :param component_name: the component, for the message.
    :returns: the index.
    :raises TypeError: it is something else.
    """
    if isinstance(index, OpenSearchIndex):
        return index
    raise TypeError(
        f"{component_name} expects an OpenSearchIndex as index, not {type(index).__name__}; make one with "
        "OpenSearchIndex(url, name, bundle). For an OpenSearchDocumentStore use the components of "
        "opensearch-haystack."
    )


def with_index(data: dict[str, Any]) -> dict[str, Any]:
    """Return a component's serialized form with the index made from its description.

    :param data: ``{"type": …, "init_parameters": {"index": {…}, …}}``; it stays as it is.
    :returns: the same with an OpenSearchIndex in place of the description.
    :raises ConfigurationError: there is no description of an index.
    """
    parameters = dict(data.get("init_parameters", {}))
    described = parameters.get("index")
    if isinstance(described, OpenSearchIndex):
        return data
    if not isinstance(described, dict):
        raise ConfigurationError(
            f"{data.get('type')}: init_parameters.index is {described!r}, expected the entries of an "
            "OpenSearchIndex: url, name, bundle"
        )
    parameters["index"] = OpenSearchIndex.from_dict(described)
    return {**data, "init_parameters": parameters}
