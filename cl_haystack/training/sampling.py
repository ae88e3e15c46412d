"""Which pairs share a batch.

With in-batch negatives every other text of the batch counts as a negative, so a text that stands in a batch
twice would be pushed away from itself. The sampler never lets that happen.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence


def no_duplicate_batches(
    texts: Sequence[frozenset[str]], batch_size: int, *, seed: int
) -> Iterator[list[int]]:
    """Yield batches in which no text occurs twice.

    A pair that clashes with the batch being filled waits for a later one. What is left at the end when
    only clashing pairs remain comes in smaller batches; pairs are never dropped or repeated.

    :param texts: for each pair the texts of all its columns.
    :param batch_size: pairs of a full batch.
    :param seed: same seed, same batches, on every machine.
    :yields: positions in ``texts``.
    """
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)  # noqa: S311 - sampling, not cryptography
    waiting: deque[int] = deque()
    source = iter(order)
    exhausted = False
    while not exhausted or waiting:
        batch: list[int] = []
        seen: set[str] = set()
        for _ in range(len(waiting)):  # those that waited come first
            position = waiting.popleft()
            if len(batch) < batch_size and seen.isdisjoint(texts[position]):
                batch.append(position)
                seen |= texts[position]
            else:
                waiting.append(position)
        while len(batch) < batch_size and not exhausted:
            candidate = next(source, None)
            if candidate is None:
                exhausted = True
            elif seen.isdisjoint(texts[candidate]):
                batch.append(candidate)
                seen |= texts[candidate]
            else:
                waiting.append(candidate)
        if batch:
            yield batch
