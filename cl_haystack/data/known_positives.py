"""Which documents of a corpus are positives of an anchor, although nobody wrote their ids down."""

from collections.abc import Callable, Sequence

from cl_haystack.data.leakage import MIN_PART_WORDS, fits
from cl_haystack.data.normalization import normalized, words
from cl_haystack.data.records import CorpusDocument, Pair


def known_positive(anchor: str, pairs: Sequence[Pair]) -> Callable[[CorpusDocument], bool]:
    """Return a function that tells whether a document is a positive of an anchor, or the source of one.

    A pair drawn from a corpus (title and text, a sentence and the rest) holds parts of its document, whose
    whole text is another, and whose vector is too: all-MiniLM-L6-v2 gives 400 abstracts of SciFact with and
    without their titles cosines down to 0.907. But all words of the pair are in the document.
    So are those of a passage, which is the positive alone; and a pair may name its document by
    ``document_id``, which counts if the text fits, since other corpora may have the same ids.

    :param anchor: the anchor; a document that repeats it is no negative either.
    :param pairs: all pairs of that anchor.
    :returns: True for a document whose text, with or without title, is one of these texts, or which holds all
        words of the anchor and a positive, or of a positive that has eight or more, or which a pair names.
    """
    positives = [pair.positive for pair in pairs]
    texts = {normalized(text) for text in (anchor, *positives)}
    parts = [found for positive in positives if (found := words(anchor) | words(positive))]
    parts += [found for positive in positives if len(found := words(positive)) >= MIN_PART_WORDS]
    named = [(pair.document_id, words(pair.positive)) for pair in pairs if pair.document_id]
    by_length = [sorted(words(text), key=len, reverse=True) for text in (anchor, *positives)]

    def is_known(document: CorpusDocument) -> bool:
        for document_id, found in named:
            if document.id == document_id and fits(len(found & words(document.content)), len(found)):
                return True
        folded = document.content.casefold()
        if not any(all(word in folded for word in found) for found in by_length):
            return False  # almost always, at the first word or the second: ten times as fast as what follows
        if normalized(document.content) in texts or normalized(document.text) in texts:
            return True
        document_words = words(document.content)
        return any(found <= document_words for found in parts)

    return is_known
