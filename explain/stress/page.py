"""Write what changes do to a model as one HTML page: a table, and an example of each change."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from plainformer.base.words import words_of
from plainformer.explain.page import as_html, shown, write_html
from plainformer.explain.stress.report import Shown
from plainformer.finetune.metrics import Table

STYLE = """
main { max-width: 70rem; }
.scroll { overflow-x: auto; margin-bottom: 2rem; }
h2 { margin-top: 1.5rem; }
mark { background: rgb(var(--for) / .35); color: inherit; border-radius: .25rem;
  border-bottom: 2px solid rgb(var(--for)); }
"""


def write_page(
    path: Path, title: str, about: str, tables: Sequence[Table], examples: Sequence[Shown]
) -> None:
    """Write the page, which appears when it is complete."""
    parts = [*map(as_html, tables), *map(article, examples)]
    write_html(path, title, about, "\n".join(parts), STYLE)


def article(one: Shown) -> str:
    """Return an example as HTML, with a mark on what was changed."""
    before, after = (f'<p class="faint">{shown(answer)}</p>' for answer in one.answers)
    return (
        f'<article>\n<h2>{shown(one.kind)}</h2>\n<p class="text" dir="auto">{shown(one.before)}</p>'
        f'\n{before}\n<p class="text" dir="auto">{marked(one.before, one.after)}</p>\n{after}\n'
        "</article>"
    )


def marked(before: str, after: str) -> str:
    """Return the changed text as HTML, with a mark on each word that is not in the other."""
    spans = words_of(after)
    old, new = ([text[a:b] for a, b in words_of(text)] for text in (before, after))
    parts, last = [], 0
    for kind, _, _, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind in ("replace", "insert"):
            begin, stop = spans[start][0], spans[end - 1][1]
            parts += [shown(after[last:begin]), f"<mark>{shown(after[begin:stop])}</mark>"]
            last = stop
    return "".join([*parts, shown(after[last:])])
