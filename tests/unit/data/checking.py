"""Pairs as a check sees them, and the kinds that it found by line: for tests of what it finds."""

import json
from pathlib import Path

from cl_haystack.data import Pair, write_pairs
from cl_haystack.data.curation import CheckReport, Kind, check_pairs

ALL = frozenset(Kind)


def check(pairs: list[Pair], folder: Path, **options) -> tuple[CheckReport, dict[int, set[str]]]:
    """Check pairs; return the report, and the kinds found by line."""
    write_pairs(pairs, folder / "pairs.jsonl")
    report = check_pairs(folder / "pairs.jsonl", folder / "clean.jsonl", drop=ALL, **options)
    lines = map(json.loads, (folder / "clean.dropped.jsonl").read_text().splitlines())
    return report, {line["line"]: {reason["kind"] for reason in line["reasons"]} for line in lines}


def lines_with(found: dict[int, set[str]], *kinds: Kind) -> set[int]:
    return {line for line, names in found.items() if names & set(kinds)}
