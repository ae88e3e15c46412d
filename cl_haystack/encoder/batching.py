"""Which texts run together: texts of like length, as many as fit a budget of tokens.

A batch is padded to its longest text, so its cost is ``texts * longest``. Sorting by length first keeps the
padding small, and a budget of tokens instead of a number of texts keeps memory flat.
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
