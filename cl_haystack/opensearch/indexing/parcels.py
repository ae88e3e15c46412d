"""How a stream of documents is cut: into windows that are embedded together, and those into bulk requests."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from haystack import Document

from cl_haystack.opensearch.indexing.bulk import Action
from cl_haystack.opensearch.indexing.preparing import Draft

_MAX_WINDOW_BYTES = 20_000_000


@dataclass(slots=True)
class Parcel:
    """One bulk request to be: actions, each id once, and their documents, so that a refused one is kept."""

    stream: int
    actions: list[Action] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    num_bytes: int = 0

    def takes(self, action: Action, max_bytes: int) -> bool:
        """Return whether an action may join; the first one always may."""
        fits = self.num_bytes + len(action.lines) <= max_bytes
        # An id twice in one request could be repeated in the wrong order when the server is busy.
        return not self.actions or (fits and action.id not in self.documents)

    def add(self, action: Action, document: Document) -> None:
        """Let an action join."""
        self.actions.append(action)
        self.documents[action.id] = document
        self.num_bytes += len(action.lines)


def windows(
    documents: Iterable[Document], draft: Callable[[Document], Draft], size: int
) -> Iterator[list[Draft]]:
    """Group documents, in order, into windows of at most ``size`` and of a bounded number of bytes.

    :param documents: any iterable of Document.
    :param draft: returns the stored form of one.
    :param size: most documents of a window.
    :yields: the windows.
    :raises TypeError: an element is something else; its position is named.
    """
    window: list[Draft] = []
    num_bytes = 0
    for position, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(
                f"documents[{position}] is a {type(document).__name__}, expected a haystack Document"
            )
        window.append(draft(document))
        num_bytes += window[-1].num_bytes
        if len(window) == size or num_bytes >= _MAX_WINDOW_BYTES:
            yield window
            window, num_bytes = [], 0
    if window:
        yield window


def parcels(
    prepared: Iterable[tuple[Action, Document]], max_bytes: int, num_streams: int
) -> Iterator[Parcel]:
    """Group actions into parcels; those of one id go to one stream, in order, so that the last one wins.

    :param prepared: actions with their documents.
    :param max_bytes: most bytes of a parcel; a larger action travels alone.
    :param num_streams: how many streams there are.
    :yields: the parcels.
    """
    open_parcels = [Parcel(stream) for stream in range(num_streams)]
    for action, document in prepared:
        stream = zlib.crc32(action.id.encode("utf-8", "surrogatepass")) % num_streams
        if not open_parcels[stream].takes(action, max_bytes):
            yield open_parcels[stream]
            open_parcels[stream] = Parcel(stream)
        open_parcels[stream].add(action, document)
    yield from (parcel for parcel in open_parcels if parcel.actions)
