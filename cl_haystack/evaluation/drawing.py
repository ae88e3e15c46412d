"""Drawing for a report: SVG that lies in the page and takes its colours and its font from there.

matplotlib draws with stand-in colours; they become CSS variables, so one drawing serves light, dark and
print.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from cl_haystack.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT, QUIET, GOOD, BAD = (f"#0000{number:02x}" for number in range(1, 8))
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    ACCENT: "--accent",
    QUIET: "--quiet",
    GOOD: "--good",
    BAD: "--bad",
}
_WIDTH_IN = 9.0
_SETTINGS: Any = {
    "text.parse_math": False,  # a $ in a name is a dollar
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
}


def require_matplotlib() -> None:
    """Raise now what drawing would raise later.

    :raises MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None


@contextmanager
def drawing(height_in: float) -> Iterator["Figure"]:
    """Open a figure under our settings; matplotlib's global ones stay as they were.

    :param height_in: height in inches; the width is that of the page.
    :yields: the figure.
    :raises MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Only matplotlib's own font lacks them, and the page's font is used.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")


def calm(axes: "Axes", *, grid: Literal["x", "y", "both"]) -> None:
    """Take away what tells nothing: the frame, the ticks; leave a faint grid.

    :param axes: a plot.
    :param grid: the direction whose values are to be read off.
    """
    axes.spines[:].set_visible(False)
    axes.grid(axis=grid, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def to_svg(figure: "Figure", *, salt: str) -> str:
    """Return a figure as an element of a page.

    :param figure: a figure of :func:`drawing`.
    :param salt: keeps the ids of two plots on one page apart.
    :returns: an ``<svg>`` element.
    """
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would apply to the whole page
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| id="[a-z0-9]+(\.[a-z]+)?_\d+"', "", svg).replace(
        "xlink:href", "href"
    )
    svg = re.sub(r' width="[^"]*pt" height="[^"]*pt"', "", svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg.strip()
