"""Aliases: which index one leads to, and how it is moved: in one request, whole or not at all.

An index that :mod:`.reembed` makes carries an :class:`Origin` in its mapping,
under ``_meta.cl_haystack_reembed``: the index whose documents it holds. That is the way back.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opensearchpy.exceptions import NotFoundError
from pydantic import BaseModel, ConfigDict, ValidationError

from cl_haystack.errors import IndexingError
from cl_haystack.opensearch.connection import Connection
from cl_haystack.opensearch.failures import opensearch_errors

ORIGIN_KEY = "cl_haystack_reembed"


class Origin(BaseModel):
    """Where the documents of a re-embedded index come from; the fields are the stored format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    index: str
    uuid: str
    """Of ``index``; another one of the same name has another uuid."""
    moved_at: dict[int, int] | None = None
    """Sequence number, by shard of the new index, at which the alias moved to it."""

    @classmethod
    def read(cls, mapping: Mapping[str, Any]) -> "Origin | None":
        """Return what a mapping says, None where the index was not made by a re-embedding."""
        try:
            return cls.model_validate(mapping["_meta"][ORIGIN_KEY])
        except (KeyError, ValidationError):
            return None

    def stored(self) -> dict[str, Any]:
        """Return the form that is kept in the mapping: plain types, without what is None."""
        return self.model_dump(mode="json", exclude_none=True)


@dataclass(frozen=True, slots=True)
class ConcreteIndex:
    """An index as it is now.

    :param name: its own name.
    :param uuid: what tells it from another one of that name.
    :param settings: flat, those that were set.
    :param mapping: its mapping.
    :param aliases: properties of its aliases, by name.
    """

    name: str
    uuid: str
    settings: dict[str, Any]
    mapping: dict[str, Any]
    aliases: dict[str, dict[str, Any]]

    @property
    def origin(self) -> Origin | None:
        """Where its documents come from."""
        return Origin.read(self.mapping)

    @property
    def is_blocked(self) -> bool:
        """Whether it is blocked against writes."""
        return str(self.settings.get("index.blocks.write")).lower() == "true"


def find_indices(connection: Connection, name: str) -> list[ConcreteIndex]:
    """Return the indices behind a name, a pattern or an alias; none where there is no such name."""
    client: Any = connection.client()
    with opensearch_errors(connection.url, name):
        found = client.indices.get(index=name, params={"flat_settings": "true"}, ignore=[404])
    if found.get("status") == 404:
        return []
    return [
        ConcreteIndex(
            name=concrete,
            uuid=entry["settings"]["index.uuid"],
            settings=entry["settings"],
            mapping=entry["mappings"],
            aliases=entry["aliases"],
        )
        for concrete, entry in found.items()
    ]


def find_index(connection: Connection, name: str) -> ConcreteIndex | None:
    """Return one concrete index, None where there is no such name."""
    return next((index for index in find_indices(connection, name) if index.name == name), None)


def behind_alias(connection: Connection, alias: str) -> ConcreteIndex:
    """Return the one index that an alias leads to.

    :param connection: the server.
    :param alias: the alias.
    :returns: the index.
    :raises IndexingError: there is no such alias, it is an index, or it leads to several.
    """
    found = find_indices(connection, alias)
    if not found:
        raise _missing(connection, alias)
    if len(found) > 1:
        names = ", ".join(sorted(index.name for index in found))
        raise IndexingError(
            f"alias '{alias}' at {connection.url} leads to {len(found)} indices ({names}), expected one; "
            "give each an alias of its own and re-embed them one at a time"
        )
    (index,) = found
    if index.name == alias:
        raise IndexingError(
            f"'{alias}' at {connection.url} is an index, expected an alias, which can be moved while it "
            f"is in use; turn it into one of the same name with `cl-haystack reembed --alias {alias} "
            "--make-alias` or make_alias()"
        )
    return index


def move_alias(connection: Connection, alias: str, old: ConcreteIndex, new: str) -> None:
    """Let an alias lead to another index, in one request; safe to repeat.

    :param connection: the server.
    :param alias: the alias.
    :param old: where it leads now; its properties (filter, routing) go along.
    :param new: where it is to lead.
    :raises IndexingError: it leads somewhere else by now.
    """
    # What the server calls index_routing and search_routing has the same names in a request.
    properties = old.aliases.get(alias, {})
    actions: list[dict[str, Any]] = [
        {"remove": {"index": old.name, "alias": alias, "must_exist": True}},
        {"add": {"index": new, "alias": alias, **properties}},
    ]
    client = connection.client()
    with opensearch_errors(connection.url, alias):
        try:
            client.indices.update_aliases(body={"actions": actions})
        except NotFoundError as error:
            if "aliases_not_found" not in str(error.error):
                raise
            led_to = [index.name for index in find_indices(connection, alias)]
            if led_to != [new]:  # else an earlier request was carried out, and its answer lost
                raise IndexingError(
                    f"alias '{alias}' at {connection.url} leads to {', '.join(led_to) or 'nothing'}, "
                    f"expected '{old.name}'; somebody else has moved it, so it was left there"
                ) from error


def refuse_template_aliases(connection: Connection, name: str) -> None:
    """Refuse to make an index to which a template would give aliases, so that it is searched too early.

    :param connection: the server; one that may not be asked is trusted.
    :param name: the index that is going to be made.
    :raises IndexingError: a template matches its name and has aliases.
    """
    client: Any = connection.client()
    try:
        with opensearch_errors(connection.url):
            found = client.indices.simulate_index_template(name=name)
    except IndexingError:
        return
    if aliases := found.get("template", {}).get("aliases"):
        raise IndexingError(
            f"an index template at {connection.url} would give '{name}' the alias {', '.join(aliases)}, so "
            "that it is searched before it is ready; take the alias out of the template, then repeat"
        )


def block_writes(connection: Connection, index: str) -> None:
    """Block an index against writes; when this returns, all writes that came before have ended."""
    answer = _add_block(connection, index)
    if not answer.get("indices"):  # it was blocked: nobody knows whether earlier writes have ended
        lift_block(connection, index)
        answer = _add_block(connection, index)
    if not answer.get("shards_acknowledged"):
        raise IndexingError(
            f"index '{index}' at {connection.url} could not be blocked against writes on every shard "
            f"({answer}); repeat when the cluster is calm"
        )


def lift_block(connection: Connection, index: str) -> None:
    """Let an index be written to again."""
    with opensearch_errors(connection.url, index):
        connection.client().indices.put_settings(index=index, body={"index.blocks.write": None})


def _add_block(connection: Connection, index: str) -> dict[str, Any]:
    with opensearch_errors(connection.url, index):
        answer: dict[str, Any] = connection.client().indices.add_block(index=index, block="write")
    return answer


def _missing(connection: Connection, alias: str) -> IndexingError:
    with opensearch_errors(connection.url):
        found: Any = connection.client().indices.get_alias()
    aliases = sorted({name for entry in found.values() for name in entry["aliases"]})
    near = difflib.get_close_matches(alias, aliases, n=3) or aliases[:5]
    there = f"; there are {', '.join(near)}" if near else "; there are no aliases yet"
    return IndexingError(f"alias '{alias}' does not exist at {connection.url}{there}; correct the name")
