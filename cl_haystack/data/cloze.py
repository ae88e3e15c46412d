"""Pairs of a sentence and the text it was taken from: the inverse cloze task.

The sentence asks for its context as a query asks for a document. Cutting it out of the context keeps a model
from matching words alone; leaving it in now and then teaches that the same words count as well.

Source: Lee et al. 2019, arXiv:1906.00300, section 4.
"""

from collections.abc import Iterator
from random import Random

from cl_haystack.data.normalization import normalized
from cl_haystack.data.records import CorpusDocument
from cl_haystack.data.sentences import sentence_spans

_ANCHOR_WORDS = range(5, 46)
_MIN_REST_WORDS = 5
_KEPT = 0.1  # probability that the sentence stays in its context, as in the paper


def cloze_pair(document: CorpusDocument, random: Random) -> tuple[str, str] | None:
    """Draw a sentence of 5 to 45 words, and make the title and the rest of the text its positive.

    Words are what white space divides, so texts of languages that write without it give no pair.

    :param document: a document of a corpus.
    :param random: draws the sentence.
    :returns: anchor and positive; None where no sentence has a rest of 5 words or more that does not say it
        again.
    """
    keep = random.random() < _KEPT
    for start, end in _shuffled(sentence_spans(document.text), random):
        anchor = document.text[start:end]
        if len(anchor.split()) not in _ANCHOR_WORDS:
            continue
        rest = f"{document.text[:start].rstrip()} {document.text[end:].lstrip()}".strip()
        positive = f"{document.title} {rest}".strip()
        if len(rest.split()) >= _MIN_REST_WORDS and normalized(anchor) not in normalized(positive):
            return anchor, document.content if keep else positive
    return None


def _shuffled(spans: Iterator[tuple[int, int]], random: Random) -> list[tuple[int, int]]:
    # Random.random() alone is promised to give the same numbers in every version of Python.
    return sorted(spans, key=lambda span: random.random())
