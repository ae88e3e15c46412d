"""Curation: what would spoil training is found in a file of pairs, reported, and taken out.

Needs the extra ``[pairs]``.
"""

from cl_haystack.errors import MissingExtraError

try:
    from cl_haystack.data.curation.check import SAME_MEANING, check_pairs
    from cl_haystack.data.curation.findings import DESCRIPTIONS, DROPPED, CheckReport, Example, Kind
except ImportError as error:
    raise MissingExtraError(error.name or "rensa", "pairs") from None

__all__ = ["DESCRIPTIONS", "DROPPED", "SAME_MEANING", "CheckReport", "Example", "Kind", "check_pairs"]
