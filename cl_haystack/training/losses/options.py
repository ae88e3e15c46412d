"""Checks of a loss's options, so that a wrong one fails where it is written and not in the first step."""

import math
from collections.abc import Collection
from numbers import Real

from cl_haystack.errors import ConfigurationError


def above_zero(name: str, value: float, example: float) -> float:
    """Return ``value`` if it is a finite number above 0.

    :param name: the option.
    :param value: what was found.
    :param example: a usual value, for the message.
    :returns: the value as a float.
    :raises ConfigurationError: it is not.
    """
    if not (_is_finite(value) and value > 0):
        raise ConfigurationError(f"{name} is {value}, expected a number above 0, such as {example}")
    return float(value)


def at_least_zero(name: str, value: float) -> float:
    """Return ``value`` if it is a finite number of at least 0.

    :param name: the option.
    :param value: what was found.
    :returns: the value as a float.
    :raises ConfigurationError: it is not.
    """
    if not (_is_finite(value) and value >= 0):
        raise ConfigurationError(f"{name} is {value}, expected a number of at least 0")
    return float(value)


def one_of(name: str, value: object, choices: Collection[object]) -> None:
    """Refuse a value that is not among the choices.

    :param name: the option.
    :param value: what was found.
    :param choices: what there is.
    :raises ConfigurationError: it is not one of them.
    """
    if value not in choices:
        raise ConfigurationError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def _is_finite(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
