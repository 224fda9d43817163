"""The page of an evaluation stands alone, and nothing that a user wrote is markup in it."""

import json
import math
import re
import xml.etree.ElementTree as tree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from plainformer.finetune.evaluation import Evaluation
from plainformer.finetune.metrics import ClassMetric
from plainformer.finetune.report.figures import figures
from plainformer.finetune.report.page import learning_curve, report_page, write_report

HOSTILE = (
    "<script>alert('x')</script>",
    "</title></td></svg>&amp;",
    "$\\frac{1}{2}$ [red]",
    "猫 🙂 \u202eevil",
    "a\nb\tc\x01\x1b[31m",
    "L" * 200,
)
EMPTY = {"meta", "br", "hr", "img", "link", "input"}
"""elements that have no end tag"""


class Page(HTMLParser):
    """What a browser would make of a page: its elements, balanced, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def evaluation(labels, count: int = 60, **changes) -> Evaluation:
    """A third of the texts right."""
    metric = ClassMetric(labels)
    for number in range(count):
        true, said = labels[number % len(labels)], labels[number // 3 % len(labels)]
        rest = 0.4 / (len(labels) - 1)
        probabilities = {label: 0.6 if label == said else rest for label in labels}
        metric.add(true, said, probabilities, f"<b>.csv:{number + 1}", f"{true} {number}")
    given = {"num_cut": 7, "max_length": 32, "training": "t.csv", "warnings": HOSTILE[:2]}
    return Evaluation(metric=metric, **{**given, **changes})


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """The log of a run of three steps."""
    folder = tmp_path_factory.mktemp("run <b>")
    rows = [
        {"step": 1, "loss": 2.0, "accuracy": 0.1},
        {"step": 2, "loss": 1.5, "accuracy": 0.2},
        {"step": 2, "evaluation": {"loss": 1.4, "accuracy": None}},
    ]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def report(log, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report") / "deep" / "er"
    assert write_report(out, evaluation(HOSTILE), log, "<i>.csv") == out / "report.html"
    return out


def test_the_page_is_well_formed_and_stands_alone(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    names = {name for name, _ in page.elements}
    assert names >= {"title", "h1", "table", "svg", "dl", "ul"}
    assert names.isdisjoint({"script", "b", "i", "img", "link", "iframe", "object", "base"})
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"@import|url\((?!#)", text)
    assert "prefers-color-scheme: dark" in text


def test_the_page_has_all_that_was_found(report):
    page = Page((report / "report.html").read_text(encoding="utf-8"))
    words = page.words
    metric = evaluation(HOSTILE).metric
    assert {f"{value:.3f}" for value in metric.scores().values()} <= set(words)
    for label in HOSTILE:
        assert re.sub(r"[\x01\x1b]", "\ufffd", label) in words
    assert [name for name, _ in page.elements].count("svg") == len(figures(metric)) + 1
    for mistake in metric.mistakes:
        assert re.sub(r"[\x01\x1b]", "\ufffd", mistake.text) in words and mistake.source in words
    for found in ("<i>.csv", "t.csv", "60", "7 texts were cut to 32 tokens", *HOSTILE[:2]):
        assert found in words


def test_pictures_are_well_formed_each(report):
    """A picture in the page is XML by itself, with the labels as words."""
    text = (report / "report.html").read_text(encoding="utf-8")
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        tree.fromstring(svg)
    assert "&lt;script&gt;" in re.search(r"<svg.*?</svg>", text, re.DOTALL).group()


def test_pictures_and_figures_are_beside_the_page(report):
    names = {path.name for path in report.iterdir()}
    assert names == {"report.html", "metrics.json", "confusion.png", "roc.png", "calibration.png"}
    assert (report / "roc.png").read_bytes()[:4] == b"\x89PNG"
    saved = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    metric = evaluation(HOSTILE).metric
    assert saved["accuracy"] == metric.accuracy and saved["labels"] == list(HOSTILE)
    evaluated = saved["evaluated"]
    assert (evaluated["data"], evaluated["examples"], evaluated["cut texts"]) == ("<i>.csv", 60, 7)
    assert set(evaluated["versions"]) == {"plainformer", "torch", "python"}


def test_a_figure_that_is_not_defined_is_a_dash_and_null(tmp_path):
    """With texts of one label alone there is no area under a curve."""
    one = ClassMetric(("a", "b"))
    one.add("a", "a", {"a": 0.9, "b": 0.1})
    assert all(math.isnan(area) for area in one.roc.areas())
    found = Evaluation(one, num_cut=0, max_length=9, training=None, warnings=())
    page = Page(write_report(tmp_path, found, tmp_path, "f.csv").read_text(encoding="utf-8"))
    assert "–" in page.words and "nan" not in page.words
    refused = {"parse_constant": lambda name: pytest.fail(name)}
    saved = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"), **refused)
    assert saved["per_label"]["a"]["auc"] is None


def test_a_model_in_the_current_folder_has_the_name_of_the_folder(log, tmp_path, monkeypatch):
    monkeypatch.chdir(log)
    page = Page(write_report(tmp_path, evaluation("ab"), Path(), "f.csv").read_text("utf-8"))
    assert f"{log.name} on f.csv" in page.words


def test_what_there_is_not_has_no_heading(tmp_path):
    """No mistakes, no log, nothing to warn of."""
    right = ClassMetric(("a", "b"))
    for label in "ab":
        said = {"a": 0.9, "b": 0.1} if label == "a" else {"b": 0.9, "a": 0.1}
        right.add(label, label, said)
    found = Evaluation(right, num_cut=0, max_length=9, training=None, warnings=())
    page = Page(write_report(tmp_path, found, tmp_path, "f.csv").read_text(encoding="utf-8"))
    headings = {word for word in page.words if word.strip()}
    assert headings >= {"Pictures", "labels", "confusions", "What was evaluated"}
    assert headings.isdisjoint({"The mistakes that the model was surest of", "How it was learned"})
    assert not [word for word in headings if "cut to" in word]


@pytest.mark.parametrize("content", ["", '{"step": 1, "loss": 2', "[1]\n", '{"loss": 1}\n', "\xff"])
def test_a_damaged_log_has_no_curve(tmp_path, content):
    (tmp_path / "log.jsonl").write_text(content, encoding="latin-1")
    curve = learning_curve(tmp_path)
    assert curve is None or content == ""


def test_many_labels_are_no_picture_of_miles():
    labels = tuple(f"label {number}" for number in range(60))
    found = evaluation(labels)
    drawn = {"confusion": figures(found.metric)["confusion"]}
    about = {"model": "m", "data": "d", "date": "now"}
    page = Page(report_page(found, drawn, None, about))
    widths = [attributes.get("width") for name, attributes in page.elements if name == "svg"]
    assert all(float(width.removesuffix("pt")) < 3000 for width in widths)
    assert not np.isnan(found.metric.accuracy)
