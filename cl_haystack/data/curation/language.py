"""Whether a text is in the language that it should be in."""

from functools import cache
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from cl_haystack.errors import ConfigurationError

_MIN_CHARS = 40  # 5 % of BANKING77's English questions shorter than that are taken for something else
_MAX_CHARS = 200  # say enough, and cost 0.2 ms
_SURE = 0.99


class LanguageGuess:
    """Tells texts of other languages, where that is sure.

    :param expected: an ISO 639-1 code, such as ``en``.
    :raises ConfigurationError: the code is unknown.
    """

    def __init__(self, expected: str) -> None:
        known = sorted(_identifier().labels)
        if expected not in known:
            raise ConfigurationError(f"language {expected!r} is unknown; expected one of {', '.join(known)}")
        self._expected = expected

    def other_than_expected(self, text: str) -> str | None:
        """Return the code of the text's language, if it is surely another; None for short texts too."""
        start = text[:_MAX_CHARS]
        if sum(map(str.isalpha, start)) < _MIN_CHARS:
            return None
        language, probability = _identifier().classify(start)
        return str(language) if language != self._expected and probability >= _SURE else None


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
