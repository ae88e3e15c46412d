"""An index is made for its model; one that is there already stays as it was made, and says so."""

import logging

from opensearchpy.exceptions import RequestError

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.capabilities import ServerCapabilities
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.expected_index import ExpectedIndex
from cl_haystack.opensearch.failures import opensearch_errors
from cl_haystack.opensearch.mapping import index_body, unmet_settings
from cl_haystack.opensearch.settings import IndexSettings
from cl_haystack.opensearch.vector_form import VectorForm

logger = logging.getLogger(__name__)


def create_index(connection: Connection, expected: ExpectedIndex) -> bool:
    """Make an index that is bound to its model.

    :param connection: the server.
    :param expected: what the index is going to be.
    :returns: False if there is one already.
    :raises ConfigurationError: the server, or the model, cannot do what the settings say.
    :raises IndexingError: the server refuses it.
    """
    settings, bundle = expected.settings, expected.bundle
    binding, space_type = expected.binding(), settings.space_type_for(bundle)
    VectorForm.of(settings.data_type, bundle, expected.dimension)  # or say now why it cannot be
    server = ServerCapabilities.ask(connection.client(), connection.url)
    server.check(settings, connection.url)
    body = index_body(binding, settings, space_type=space_type, server=server)
    try:
        with opensearch_errors(connection.url, expected.name):
            connection.client().indices.create(index=expected.name, body=body)
    except IndexingError as error:
        cause = error.__cause__
        if isinstance(cause, RequestError) and "resource_already_exists" in str(cause.error):
            return False
        raise
    return True


def tell_unmet_settings(connection: Connection, name: str, settings: IndexSettings) -> None:
    """Warn of settings that somebody chose and an index that exists keeps without.

    :param connection: the server.
    :param name: of the index or alias.
    :param settings: how the index would be made now.
    """
    if not settings.model_fields_set - {"truncate_dim", "ef_search"}:
        return
    with opensearch_errors(connection.url, name):
        found = connection.client().indices.get(index=name)
    for concrete, existing in found.items():
        unmet = unmet_settings(settings, existing)
        differences = ", ".join(
            f"{setting} is {there}, not {given}" for setting, (given, there) in unmet.items()
        )
        if differences:
            logger.warning(
                "index '%s' exists, and stays as it was made: %s; for other settings index its documents "
                "into a new index",
                concrete,
                differences,
            )
