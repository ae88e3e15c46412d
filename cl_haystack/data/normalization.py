"""When two texts count as the same: case and white space aside."""


def normalized(text: str) -> str:
    """Return the form by which texts are compared.

    :param text: any text.
    :returns: case-folded, with single spaces and none at the ends.
    """
    return " ".join(text.casefold().split())
