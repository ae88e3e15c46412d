import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from cl_haystack.errors import MissingExtraError
from cl_haystack.evaluation import Comparison, Interval, Latency
from cl_haystack.evaluation.parts import (
    ComparisonRow,
    Example,
    Gains,
    RankedDocument,
    Report,
    ResultList,
    Step,
    SystemRow,
)
from cl_haystack.evaluation.plots import bar_chart, gain_chart
from cl_haystack.evaluation.report import points, render_report, write_report

EVIL = "<script>alert('x')</script> & $\\frac{a}$ 漢字"


class Page(HTMLParser):
    """Collects text, tags with attributes, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "br", "path", "use", "link", "img"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def document(rank, title, *, relevant=False):
    return RankedDocument(rank=rank, title=title, excerpt=f"excerpt of {title}", relevant=relevant)


@pytest.fixture
def report():
    def comparison(low, high):
        return Comparison(
            metric="ndcg@10",
            mean=0.537,
            baseline_mean=0.482,
            difference=Interval((low + high) / 2, low, high),
            p_value=0.6 if low < 0 < high else 0.0001,
            num_queries=100,
            wins=40,
            losses=25,
        )

    return Report(
        title=EVIL,
        summary="A summary.",
        conclusion="Tuned is better.",
        verdict="better",
        systems=[
            SystemRow(label="base", metrics={"ndcg@10": Interval(0.482, 0.45, 0.51), "mrr@10": 0.4}),
            SystemRow(
                label=EVIL,
                metrics={"ndcg@10": Interval(0.537, 0.51, 0.56)},
                latency=Latency(p50_ms=3.21, p95_ms=9.87, p99_ms=12.3),
                highlight=True,
            ),
        ],
        comparisons=[
            ComparisonRow(system="tuned", baseline="base", comparison=comparison(0.042, 0.067)),
            ComparisonRow(system="base", baseline="tuned", comparison=comparison(-0.067, -0.042)),
            ComparisonRow(system="BM25", baseline="base", comparison=comparison(-0.01, 0.01)),
        ],
        gains=Gains(system="tuned", baseline="base", metric="ndcg@10", differences=[0.5, -0.3, 0.0]),
        examples=[
            Example(
                question=EVIL,
                note="gain",
                results=[
                    ResultList(label="before", documents=[document(1, "x")], first_relevant_rank=None),
                    ResultList(
                        label="after", documents=[document(1, EVIL, relevant=True)], first_relevant_rank=1
                    ),
                    ResultList(label="nothing", documents=[], first_relevant_rank=None),
                ],
            )
        ],
        steps=[Step(name="train", seconds=61.25), Step(name="export", seconds=2, reused=True)],
        provenance={"command": EVIL},
    )


def test_every_part_is_told(report):
    words = Page(render_report(report)).words.replace("\N{MINUS SIGN}", "-")
    for part in [
        "A summary.",
        "Tuned is better.",
        "nDCG@10",
        "0.537 0.510 \N{EN DASH} 0.560",
        "3.2 · 9.9 · 12.3",
        "+5.5 +4.2 to +6.7 40 · 35 · 25 better",
        "-5.5 -6.7 to -4.2 40 · 35 · 25 worse",
        "0.0 -1.0 to +1.0 40 · 35 · 25 not distinguishable",
        "before · nothing relevant found",
        "after · first relevant at rank 1",
        "✓ relevant",
        "no documents",
        "train 61.2",
        "export (reused) 2.0",
        "total 63.2",
    ]:
        assert part in words
    assert words.count("✓ relevant") == 1


def test_the_page_loads_nothing_and_runs_nothing(report):
    html = render_report(report)
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"src", "srcset", "action"}
            assert name != "href" or value.startswith("#")
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {
        f"#{id_}" for id_ in re.findall(r'id="([^"]+)"', html)
    }


def test_texts_are_escaped_wherever_they_stand(report):
    html = render_report(report)
    assert "<script" not in html
    words = Page(html).words
    assert words.count("<script>alert('x')</script> & $\\frac{a}$ 漢字") >= 5


def test_ids_are_unique_and_references_lead_somewhere(report):
    html = render_report(report)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_colours_follow_the_page(report):
    html = render_report(report)
    svg = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert not re.findall(r"#0000\d\d", svg)
    assert "var(--accent)" in svg
    used = set(re.findall(r"var\((--\w+)\)", html))
    light, dark, print_ = re.findall(r":root \{(.*?)\}", html, flags=re.DOTALL)
    for scheme in (light, dark, print_):
        assert used <= set(re.findall(r"(--\w+):", scheme))


def test_an_empty_report_is_a_page():
    page = Page(render_report(Report(title="Nothing yet")))
    assert "Nothing yet" in page.words
    assert "svg" not in [tag for tag, _ in page.tags]


def test_the_same_report_is_the_same_page(report):
    assert render_report(report) == render_report(report)


def test_it_is_written_as_utf8(report, tmp_path):
    write_report(tmp_path / "new" / "report.html", report)
    assert (tmp_path / "new" / "report.html").read_bytes().decode() == render_report(report)


@pytest.mark.parametrize(
    "values",
    [[0.0], [0.0, 0.0], [1.0] * 3, [-1.0, 1.0], [0.1, -0.2, 0.0] * 400],
    ids=["0", "00", "1", "±", "many"],
)
def test_gains_of_every_shape_are_drawn(values):
    assert gain_chart(values).startswith("<svg")


def test_labels_of_bars_do_not_overlap_however_long_they_are():
    names = ["a very long name of a system that says everything about it, twice over " * 2, "b", "", "x" * 80]
    svg = bar_chart(names, [Interval(0.5, 0.4, 0.6)] * 3 + [Interval(0, 0, 0)], highlight=0)
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1])
    found = re.findall(r'<(?:text|tspan)[^>]* y="([-\d.]+)"[^>]*>([^<]+)<', svg)
    lines = [(float(y), text) for y, text in found]
    assert all(0 <= y <= height for y, _ in lines)
    assert len([text for _, text in lines if re.fullmatch(r"0\.\d{3}", text)]) == 4
    names_at = sorted(y for y, text in lines if re.search(r"[a-z]", text))
    assert len(names_at) == 3 + 1 + 1 + 2  # words, a letter, nothing, one long word
    assert min(below - above for above, below in pairwise(names_at)) >= 9  # the font's size


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0551, "+5.5"), (-0.0551, "\N{MINUS SIGN}5.5"), (0.0004, "0.0"), (-0.0004, "0.0"), (1, "+100.0")],
)
def test_points(value, expected):
    assert points(value) == expected


def test_without_matplotlib_the_extra_is_named(monkeypatch, report):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib.*cl-haystack\[report\]"):
        render_report(report)
