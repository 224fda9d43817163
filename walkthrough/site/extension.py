"""Teach Sphinx what the site needs: anchors of cells, links to the other language, plain text."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.search import languages
from sphinx.transforms import SphinxTransform

from walkthrough.site import mathml
from walkthrough.site.docstrings import as_restructured
from walkthrough.site.search import ChineseSearch

STATIC = Path(__file__).parent / "static"


class CellAnchors(SphinxTransform):
    """Give each cell of code its name as its anchor; a heading of that name yields it."""

    default_priority = 900

    def apply(self, **_options: Any) -> None:
        """Change the document."""
        cells = {
            node["cell_metadata"]["name"]: node
            for node in self.document.findall(nodes.container)
            if "name" in node.get("cell_metadata", {})
        }
        for section in self.document.findall(nodes.section):
            section["ids"] = [
                f"{name}-section" if name in cells else name for name in section["ids"]
            ]
        for name, cell in cells.items():
            cell["ids"] = [name]


def _read_docstring(
    _app: Sphinx, _what: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Turn a docstring into reStructuredText, which Sphinx reads."""
    lines[:] = as_restructured(lines)


def _complete_context(
    app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Translate the words of the theme, and make signatures valid: a list stood in a term."""
    words: dict[str, str] = app.config.html_context["words"]
    translate = context.get("_") or app.builder.templates.environment.globals["gettext"]
    context["_"] = context["gettext"] = lambda text: words.get(text.strip()) or translate(text)

    context["body"] = SIGNATURE.sub(_parameters, context.get("body", ""))


SIGNATURE = re.compile(r'(<span class="sig-paren">\(</span>)\s*<dl>(.*?)</dl>\s*', re.DOTALL)


def _parameters(signature: re.Match[str]) -> str:
    """Return the parameters of a signature, one a line, as an element that may stand there."""
    lines = signature[2].replace("<dd>", '<span class="parameter">').replace("</dd>", "</span>")
    return signature[1] + lines


def setup(app: Sphinx) -> dict[str, Any]:
    """Add everything to Sphinx."""
    languages["zh"] = ChineseSearch
    mathml.setup(app)
    app.add_transform(CellAnchors)
    app.connect("autodoc-process-docstring", _read_docstring)
    app.connect("html-page-context", _complete_context)
    app.add_css_file("site.css")
    app.add_js_file("site.js", loading_method="defer")
    return {"parallel_read_safe": True}
