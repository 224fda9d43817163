"""Write the report of an evaluation: `report.html`, its figures as PNG, and `metrics.json`.

The page is one file: without scripts, with inline figures, and it fetches nothing. It follows the
browser's setting of light or dark. All text from users is escaped.
"""

import html
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainformer.base import UserError, nan_to_null, plural, write_json, write_text
from plainformer.base.figures import as_svg, save_png
from plainformer.finetune.ensemble import Folders, folders_of
from plainformer.finetune.evaluation import Evaluation
from plainformer.finetune.metrics import Mistake, Table
from plainformer.finetune.metrics.base import spoken
from plainformer.finetune.report.figures import figures as draw
from plainformer.training import curve_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_TEXT = 500
"""The most characters of a text that the page shows."""
UNSHOWABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that are invalid in HTML: control characters, surrogates and noncharacters."""

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1a202c; --faint: #5a6577; --line: #dde3ea; --page: #ffffff; --card: #f5f7fa;
  --strong: #2b6cb0; --warn: #fff4e0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6e9ee; --faint: #9aa5b5; --line: #333c48; --page: #14181e; --card: #1d232b;
    --strong: #7db8f0; --warn: #3a2e17;
  }
  figure svg { filter: invert(1) hue-rotate(180deg); }
}
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .8rem; }
h2::first-letter { text-transform: uppercase; }
p, .faint { color: var(--faint); margin: 0; }
.scores { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.6rem 0 0; }
.scores div { background: var(--card); border-radius: .5rem; padding: .6rem 1rem; }
.scores dt { color: var(--faint); font-size: .85rem; }
.scores dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.scores div:first-child dd { font-size: 2rem; line-height: 1.2; color: var(--strong); }
.notes { background: var(--warn); border-radius: .5rem; padding: .7rem 1rem .7rem 2rem;
  margin: 1.4rem 0 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: pre-wrap; overflow-wrap: anywhere; min-width: 3.2rem;
  max-width: 18rem; }
th { font-weight: 600; font-size: .9rem; }
th:first-child, td:first-child, .mistakes th, .mistakes td { text-align: start; }
.mistakes td:nth-child(4) { max-width: 28rem; min-width: 14rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
figure svg { max-width: 100%; height: auto; }
.about { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0; }
.about dt { color: var(--faint); }
.about dd { margin: 0; overflow-wrap: anywhere; }
"""


def write_report(out: Path, evaluation: Evaluation, folder: Folders, source: str) -> Path:
    """Write the report of the model in `folder` on `source` into `out`; return its page's path."""
    metric = evaluation.metric
    figures = draw(metric)
    folders = folders_of(folder)
    about = facts(evaluation, folders, source)
    curve = learning_curve(folders[0]) if len(folders) == 1 else None
    write_json(out / "metrics.json", nan_to_null({**metric.to_json(), "evaluated": about}))
    for name, figure in figures.items():
        save_png(figure, out / f"{name}.png")
    page = out / "report.html"
    write_text(page, report_page(evaluation, figures, curve, about))
    return page


def facts(evaluation: Evaluation, folders: Sequence[Path], source: str) -> dict[str, Any]:
    """Return the facts of the evaluation: model, data, date, warnings and versions."""
    return {
        "model": " + ".join(map(str, folders)),
        "data": source,
        "examples": evaluation.metric.count,
        "cut texts": evaluation.num_cut,
        "longest sequence": evaluation.max_length,
        "computed": evaluation.placement,
        "compared with training examples": evaluation.training,
        "warnings": list(evaluation.warnings),
        "date": datetime.now().astimezone().isoformat(" ", "seconds"),
        "versions": {
            **{name: version_of(name) for name in ("plainformer", "torch")},
            "python": platform.python_version(),
        },
    }


def version_of(package: str) -> str:
    """Return the installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def learning_curve(folder: Path) -> "Figure | None":
    """Draw the learning curve of the run; return None where its log is missing or damaged."""
    try:
        return curve_figure(folder / "log.jsonl", "")
    except (OSError, UserError):
        return None


def report_page(
    evaluation: Evaluation,
    figures: Mapping[str, "Figure"],
    curve: "Figure | None",
    about: Mapping[str, Any],
) -> str:
    """Return the page as HTML."""
    metric = evaluation.metric
    folders = map(Path, about["model"].split(" + "))  # of an ensemble
    model = " + ".join(folder.name or folder.resolve().name for folder in folders)
    data = Path(about["data"]).name
    title = f"{model} on {data}"
    parts = [
        f"<h1>{shown(title)}</h1>",
        f"<p>{plural(metric.count, 'example')}, {shown(about['date'])}</p>",
        scores(metric.scores()),
        notes(evaluation),
        section("Pictures", pictures(figures.values()) if figures else ""),
        *(section(table.title, rows(table)) for table in metric.tables()),
        section(metric.mistakes_title, mistakes(metric.mistake_score, metric.mistakes)),
        section("How it was learned", pictures([curve]) if curve else ""),
        section("What was evaluated", definitions(about)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def shown(text: str) -> str:
    """Escape a text for HTML, cut to `LONGEST_TEXT` characters."""
    text = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    return html.escape(UNSHOWABLE.sub("\ufffd", text))


def section(title: str, content: str) -> str:
    """Return a section of the page; an empty string where it has no content."""
    return f"<section>\n<h2>{shown(title)}</h2>\n{content}\n</section>" if content else ""


def scores(values: Mapping[str, float]) -> str:
    """Return the scores as cards, the first one large."""
    cards = (
        f"<div><dt>{shown(name.replace('_', ' '))}</dt><dd>{spoken(value)}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="scores">{"".join(cards)}</dl>'


def notes(evaluation: Evaluation) -> str:
    """Return the warnings and the number of cut texts as an HTML list."""
    lines = list(evaluation.warnings)
    if evaluation.num_cut:
        cut = plural(evaluation.num_cut, "text was", "texts were")
        lines.append(f"{cut} cut to {evaluation.max_length} tokens")
    items = "".join(f'<li dir="auto">{shown(line)}</li>' for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""


def pictures(figures: Iterable["Figure"]) -> str:
    """Return figures side by side, as inline SVG."""
    drawn = "".join(f"<figure>{as_svg(figure)}</figure>" for figure in figures)
    return f'<div class="pictures">{drawn}</div>'


def rows(table: Table) -> str:
    """Return a table of the metric as HTML."""
    return grid(table.columns, [[spoken(value) for value in row] for row in table.rows])


def mistakes(score: str, found: Sequence[Mistake]) -> str:
    """Return the table of mistakes, the worst first; an empty string without mistakes."""
    columns = (score, "predicted", "true", "text", "where")
    lines = [
        [f"{wrong.score:.3f}", wrong.predicted, wrong.true, wrong.text, wrong.source]
        for wrong in found
    ]
    return grid(columns, lines, "mistakes") if lines else ""


def grid(columns: Sequence[str], lines: Iterable[Sequence[str]], kind: str = "table") -> str:
    """Return an HTML table of `lines` under `columns`."""
    head = "".join(f'<th dir="auto">{shown(column)}</th>' for column in columns)
    body = "\n".join(
        "<tr>" + "".join(f'<td dir="auto">{shown(cell)}</td>' for cell in line) + "</tr>"
        for line in lines
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def definitions(values: Mapping[str, Any]) -> str:
    """Return names and values as an HTML definition list, without lists and missing values."""
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{inner} {what}" for inner, what in value.items())
        if isinstance(value, str | int):
            lines.append(f"<dt>{shown(name)}</dt><dd>{shown(spoken(value))}</dd>")
    return f'<dl class="about">{"".join(lines)}</dl>'
