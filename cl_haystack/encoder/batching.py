"""Which texts run together: as many as fit a budget of tokens, of like length or of one and the same.

A padded batch costs ``texts * longest``. Sorting by length first keeps the padding small, and a budget of
tokens instead of a number of texts keeps memory flat. Without padding, rows of some graphs do not depend on
each other to the last bit.
"""

from collections.abc import Iterator, Sequence


def token_budget_batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Pack texts into batches of at most ``token_budget`` padded tokens.

    :param lengths: tokens of each text.
    :param token_budget: most padded tokens of a batch; a longer text gets a batch of its own.
    :yields: positions in ``lengths``, longest batch first, so that the largest allocation comes first.
    """
    batch: list[int] = []
    longest = 0
    for position in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        if batch and longest * (len(batch) + 1) > token_budget:
            yield batch
            batch = []
        if not batch:
            longest = lengths[position]
        batch.append(position)
    if batch:
        yield batch


def equal_length_batches(lengths: Sequence[int], token_budget: int, max_tokens: int) -> Iterator[list[int]]:
    """Pack texts of one length together, so that nothing is padded; long ones run alone.

    :param lengths: tokens of each text.
    :param token_budget: most tokens of a batch.
    :param max_tokens: a text of more tokens gets a batch of its own.
    :yields: positions in ``lengths``, longest first.
    """
    by_length: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        by_length.setdefault(length, []).append(position)
    for length in sorted(by_length, reverse=True):
        positions = by_length[length]
        size = 1 if length > max_tokens else max(1, token_budget // length)
        for start in range(0, len(positions), size):
            yield positions[start : start + size]
