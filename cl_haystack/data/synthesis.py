"""Questions that a generator makes up for documents, kept where a search finds the document again.

The generator is the user's: any Haystack chat generator. The prompt, reading the answers, rounds, and the
check by round trip are ours: a question that does not find its own document among all others is too vague, or
wrong, to teach anything.

Sources: Bonifacio et al. 2022 (InPars), arXiv:2202.05144; filtering by round trip, Dai et al. 2022
(Promptagator), arXiv:2209.11755, section 3.2.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import CorpusDocument, Pair
from cl_haystack.encoder.exact_search import exact_search
from cl_haystack.encoder.protocol import TextEncoder
from cl_haystack.encoder.vectors import VectorsByKey
from cl_haystack.errors import ConfigurationError, DataError
from cl_haystack.progress import OnProgress, Progress, ignore

PROMPT = """\
Write {num_questions} different questions that a person might type into a search box and that the text \
below answers. Use other words than the text where you can. Do not mention "the text". Write one question on \
each line, nothing else.

Text:
{text}
"""
_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):]|Q\d*[:.])\s*")
_MIN_WORDS, _MAX_WORDS = 2, 60
_MAX_CHARS = 8000

Generate = Callable[[str], str]
"""Answers a prompt."""


@dataclass
class SynthesisCounts:
    """What became of documents and questions; filled while pairs are drawn.

    :param documents: documents that were asked about.
    :param failures: calls of the generator that raised; another round asks again.
    :param questions: questions made up.
    :param unreadable: lines of an answer that are no question: too short, too long.
    :param repeated: questions that were there before, for any document.
    :param copied: questions that are a part of their document, word for word.
    :param not_found: questions whose document a search does not find.
    :param pairs: pairs made.
    """

    documents: int = 0
    failures: int = 0
    questions: int = 0
    unreadable: int = 0
    repeated: int = 0
    copied: int = 0
    not_found: int = 0
    pairs: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def generate_with(component: Any) -> Generate:
    """Make a function of a Haystack generator.

    :param component: a chat generator (``run(messages=…)`` → ``replies`` of ``ChatMessage``) or a generator
        (``run(prompt=…)`` → ``replies`` of texts).
    :returns: answers a prompt with the first reply.
    :raises ConfigurationError: the component is neither.
    """
    from haystack.dataclasses import ChatMessage

    inputs = set(getattr(getattr(component, "__haystack_input__", None), "_sockets_dict", {}))
    if not inputs & {"messages", "prompt"}:
        raise ConfigurationError(
            f"{type(component).__name__} takes {', '.join(sorted(inputs)) or 'no known input'}; expected a "
            "Haystack generator, with the input 'messages' or 'prompt'"
        )
    if hasattr(component, "warm_up"):
        component.warm_up()

    def generate(prompt: str) -> str:
        asked = {"messages": [ChatMessage.from_user(prompt)]} if "messages" in inputs else {"prompt": prompt}
        replies = component.run(**asked)["replies"]
        first = replies[0] if replies else ""
        return first if isinstance(first, str) else first.text or ""

    return generate


def pairs_from_generator(
    documents: Iterable[CorpusDocument],
    generate: Generate,
    counts: SynthesisCounts,
    *,
    encoder: TextEncoder | None = None,
    prompt: str = PROMPT,
    num_questions: int = 3,
    num_rounds: int = 2,
    top_k: int = 3,
    on_progress: OnProgress = ignore,
) -> list[Pair]:
    """Let a generator make up questions for documents, and keep those that find their document.

    :param documents: documents, all of which the round trip searches; held in memory.
    :param generate: answers a prompt; see :func:`generate_with`.
    :param counts: where the counts go.
    :param encoder: searches the documents with each question; None keeps all.
    :param prompt: what to ask, with ``{text}`` and possibly ``{num_questions}`` in it.
    :param num_questions: questions of a document.
    :param num_rounds: how often to ask at most, until a document has them.
    :param top_k: a question's document must be among this many.
    :param on_progress: told documents asked about.
    :returns: the pairs, with ``generator`` as ``source``, in the order of the documents.
    :raises ConfigurationError: the prompt has no ``{text}``, or others that are unknown.
    :raises DataError: no document has text, or the generator failed for all.
    """
    try:
        if "{text}" not in prompt:
            raise KeyError("text")
        prompt.format(text="", num_questions=1)
    except (KeyError, IndexError, ValueError) as error:
        problem = f"the prompt cannot be filled in ({error}); expected {{text}} in it, possibly"
        raise ConfigurationError(f"{problem} {{num_questions}}, and no other braces") from None
    known = [document for document in documents if document.content.strip()]
    if not known:
        raise DataError("no document has text; expected documents to ask about")
    asked = list(_ask(known, generate, counts, prompt, num_questions, num_rounds, on_progress))
    if counts.failures and not asked:
        raise DataError(
            f"the generator failed {counts.failures:,} times and made up no question; see its log"
        )
    kept = asked if encoder is None else _found_again(asked, known, encoder, top_k)
    counts.not_found = len(asked) - len(kept)
    counts.pairs = len(kept)
    return [
        Pair(
            anchor=question,
            positive=known[place].content,
            source="generator",
            document_id=known[place].id,
        )
        for question, place in kept
    ]


def _ask(
    documents: Sequence[CorpusDocument],
    generate: Generate,
    counts: SynthesisCounts,
    prompt: str,
    num_questions: int,
    num_rounds: int,
    on_progress: OnProgress,
) -> Iterator[tuple[str, int]]:
    """Yield questions, each with the place of its document."""
    seen: set[str] = set()
    for place, document in enumerate(documents):
        counts.documents += 1
        found: list[str] = []
        for _ in range(num_rounds):
            wanted = num_questions - len(found)
            if not wanted:
                break
            try:
                answer = generate(prompt.format(text=document.content[:_MAX_CHARS], num_questions=wanted))
            except Exception:  # noqa: BLE001 - a user's component may raise anything; a run of hours goes on
                counts.failures += 1
                continue
            found += _read(answer, document, seen, counts)[:wanted]
        yield from ((question, place) for question in found)
        on_progress(Progress(place + 1, len(documents), "asking"))


def _read(answer: str, document: CorpusDocument, seen: set[str], counts: SynthesisCounts) -> list[str]:
    """Return the questions of an answer, one a line, without numbers, bullets and quotation marks."""
    found = []
    for line in answer.splitlines():
        question = _MARK.sub("", line).strip().strip("\"'“”").strip()
        if not question:
            continue
        counts.questions += 1
        form = normalized(question)
        if not _MIN_WORDS <= len(question.split()) <= _MAX_WORDS or question.endswith(":"):
            counts.unreadable += 1
        elif form in seen:
            counts.repeated += 1
        elif form in normalized(document.content):
            counts.copied += 1
        else:
            seen.add(form)
            found.append(question)
    return found


def _found_again(
    asked: Sequence[tuple[str, int]], documents: Sequence[CorpusDocument], encoder: TextEncoder, top_k: int
) -> list[tuple[str, int]]:
    places = VectorsByKey(encoder.encode_documents, lambda key: documents[int(key)].content)
    places.add(map(str, range(len(documents))))
    if not asked:
        return []
    questions = VectorsByKey(encoder.encode_queries)
    questions.add(question for question, _ in asked)
    texts = [question for question, _ in asked]
    run = exact_search(texts, questions.of(texts), places.windows, top_k=top_k)
    return [(question, place) for question, place in asked if str(place) in run[question]]
