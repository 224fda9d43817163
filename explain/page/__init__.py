"""Write one self-contained HTML page that can be sent to a colleague.

    write_html(Path("page.html"), "Title", "What is to be seen.", "<p>…</p>")

The page fetches nothing, and its policy lets no script run but its own; it follows the browser's
setting of light or dark. What users wrote goes through `shown`.
"""

import base64
import hashlib
import html
from pathlib import Path

from plainformer.base import write_text
from plainformer.finetune.metrics import Table
from plainformer.finetune.metrics.base import spoken
from plainformer.finetune.report.page import UNSHOWABLE

__all__ = ["POLICY", "as_html", "shown", "write_html"]

STYLE = """
:root { color-scheme: light dark; --text: #1a202c; --faint: #5a6577; --line: #dde3ea;
  --page: #fff; --for: 221 107 32; --against: 66 140 220; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --faint: #9aa5b5; --line: #333c48;
  --page: #14181e; --for: 180 83 9; --against: 49 112 180; } }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.6 system-ui, sans-serif; }
main { max-width: 50rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
article { border-top: 1px solid var(--line); padding: 1.6rem 0; }
.faint, figcaption { color: var(--faint); margin: 0; font-size: .9rem; }
.text { font-size: 1.1rem; line-height: 2; margin: .6rem 0; overflow-wrap: anywhere;
  white-space: pre-wrap; }
summary { cursor: pointer; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: .5rem; }
th, td { padding: .2rem 1.2rem .2rem 0; text-align: end; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: start; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_html(
    path: Path, title: str, about: str, body: str, style: str = "", script: str = ""
) -> None:
    """Write a page to a file, which appears when it is complete; `body` is HTML.

    `script` runs at its end, and must not hold `</script`.
    """
    policy, own = POLICY, ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy, own = f"{POLICY}; script-src 'sha256-{digest}'", f"<script>{script}</script>\n"
    write_text(
        path,
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{shown(title)}</h1>\n<p class="faint">{shown(about)}</p>\n{body}'
        f"\n</main>\n{own}</body>\n</html>\n",
    )


def shown(text: str) -> str:
    """Escape a text for HTML."""
    return html.escape(UNSHOWABLE.sub("\ufffd", text))


def as_html(table: Table, heading: str = "h2") -> str:
    """Return a table as HTML, which scrolls where it is too wide."""
    heads = "".join(f'<th scope="col">{shown(column)}</th>' for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f'<td dir="auto">{shown(spoken(cell))}</td>' for cell in row) + "</tr>\n"
        for row in table.rows
    )
    return (
        f"<{heading}>{shown(table.title)}</{heading}>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{shown(table.title)}">\n'
        f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
