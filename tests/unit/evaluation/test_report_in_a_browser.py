"""The report in a real browser: it loads nothing, fits the screen and the paper, and hostile text is text."""

import re
import shutil
from itertools import pairwise

import numpy as np
import pytest

from cl_haystack.evaluation import Comparison, Interval
from cl_haystack.evaluation.pair_metrics import precision_recall
from cl_haystack.evaluation.parts import (
    ComparisonRow,
    CurvePoint,
    Example,
    Gains,
    HardNegative,
    PairExample,
    RankedDocument,
    Report,
    ResultList,
    ScoreDistribution,
    SystemRow,
    TextMap,
    Variant,
)
from cl_haystack.evaluation.report import write_report

EVIL = (
    "</title></style></svg><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\"> {{ 7 * 7 }} \u202egnal "
    + "averylongwordwithoutaspace"
    * 8
)
RNG = np.random.default_rng(0)


def full_report():
    """Every part there is, with hostile text wherever text goes."""
    value = Interval(0.5, 0.45, 0.55)
    hit = RankedDocument(rank=1, title=EVIL, excerpt=EVIL, relevant=True)
    comparison = Comparison(
        metric="ndcg@10",
        mean=0.5,
        baseline_mean=0.4,
        difference=Interval(0.1, 0.05, 0.15),
        p_value=0.001,
        num_queries=30,
        wins=20,
        losses=5,
    )
    row = ComparisonRow(system=EVIL, baseline="base", comparison=comparison, on=EVIL)
    scores, labels = RNG.random(40), RNG.integers(0, 2, 40).astype(float)
    return Report(
        title=EVIL,
        summary=EVIL,
        conclusion=EVIL,
        verdict="better",
        systems=[SystemRow(label=EVIL, metrics={"ndcg@10": value}, highlight=True)],
        comparisons=[row, row],
        curve=[CurvePoint(num_pairs=n, value=value) for n in (0, 100, 1000)],
        gains=Gains(system=EVIL, baseline="base", metric="ndcg@10", differences=[0.5, 0.0, -0.2]),
        distributions=[ScoreDistribution(system=EVIL, groups={"a": [0.1, 0.2], EVIL: [0.5]}, threshold=0.3)],
        precision_recall=[(EVIL, precision_recall(scores, labels))],
        maps=[
            TextMap(
                system=EVIL,
                queries=RNG.random((3, 2)),
                documents=RNG.random((9, 2)),
                links=[(0, 1)],
                explained=0.4,
            )
        ],
        variants=[Variant(label=EVIL, quality=value, latency_ms=3.2, num_bytes=10_000_000)],
        examples=[
            Example(
                question=EVIL,
                note=EVIL,
                results=[ResultList(label=EVIL, documents=[hit], first_relevant_rank=1)] * 2,
            )
        ],
        pair_examples=[PairExample(anchor=EVIL, positive=EVIL, truth="1", scores={EVIL: 0.5}, note=EVIL)],
        hard_negatives=[HardNegative(question=EVIL, negative=hit, relevant=hit, margin=0.1)],
        oddities=[EVIL],
        datasheet={EVIL: {EVIL: EVIL}},
        provenance={EVIL: EVIL},
    )


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, full_report())
    return path.as_uri()


def test_nothing_of_a_hostile_text_is_run_and_nothing_is_loaded(browser, address):
    page = browser.new_page()
    requests, messages = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(address)
    assert requests == [address]
    assert messages == []
    assert page.title() != "owned"
    assert page.evaluate("document.querySelectorAll('script, img, iframe, link').length") == 0
    assert page.locator("h1").inner_text().startswith("</title></style></svg><script>")
    assert "{{ 7 * 7 }}" in page.locator("h1").inner_text()
    assert "\u202e" not in page.content()  # it would turn round the text after it
    page.close()


def test_it_is_whole_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    headings = page.locator("h2").all_inner_texts()
    assert headings[:2] == ["Figures", "Differences"]
    assert {"Learning curve", "Scores", "Map", "Hardest negatives", "Pairs worth a look"} <= set(headings)
    assert all(heading.is_visible() for heading in page.locator("h2").all())
    assert page.locator("svg").count() == 7
    context.close()


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_it_fits_the_screen(browser, address, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser, address, scheme):
    """WCAG's contrast of 4.5, for every text on the page and in the drawings."""
    page = browser.new_page(color_scheme=scheme)
    page.goto(address)
    colours = page.evaluate(
        """() => [...document.querySelectorAll(
            'h1, h2, h3, h4, p, td, th, li, dt, dd, small, figcaption, text, .mark')]
        .map(element => {
            const drawn = element.tagName === 'text';
            let below = element;
            const ground = () => getComputedStyle(below).backgroundColor;
            while (below && ground() === 'rgba(0, 0, 0, 0)') below = below.parentElement;
            const style = getComputedStyle(element);
            return [drawn ? style.fill : style.color, ground(), element.tagName];
        })"""
    )
    assert len(colours) > 60
    low = [found for found in colours if contrast(*map(rgb, found[:2])) < 4.5]
    assert low == []
    dark = luminance(rgb(page.evaluate("getComputedStyle(document.body).backgroundColor"))) < 0.1
    assert dark == (scheme == "dark")
    page.close()


def test_drawings_are_named_and_tables_have_heads(browser, address):
    page = browser.new_page()
    page.goto(address)
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every(e => e.closest('[role=img]').ariaLabel.length > 10)"
    )
    assert page.evaluate("[...document.querySelectorAll('th')].every(e => e.scope === 'col')")
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    page.close()


def test_it_prints_black_on_white_within_the_paper(browser, address):
    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(rgb(page.evaluate("getComputedStyle(document.body).backgroundColor"))) > 0.9
    page.set_viewport_size({"width": 720, "height": 1000})  # A4 less its margins, at 96 dots an inch
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()


def rgb(text):
    return [float(number) for number in re.findall(r"[\d.]+", text)[:3]]


def luminance(colour):
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)
