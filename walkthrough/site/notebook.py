"""Compose the notebook of a chapter in one language: its prose, the cells, and their outputs."""

import copy
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import nbformat

from walkthrough.chapters import Cell
from walkthrough.site.execute import Outputs
from walkthrough.site.language import Language

COLOURS = re.compile(r"\x1b\[[\d;]*m")
HINT = re.compile(r"<details>\s*(<summary>.*?</summary>)\s*(.*?)\s*</details>", re.DOTALL)


def compose(
    chapter: str,
    language: Language,
    outputs: Outputs,
    folder: Path,
    link: Callable[[str], str],
) -> Any:
    """Return the notebook of a chapter in a language; `link` changes the links of its prose."""
    cells = []
    for number, cell in enumerate(language.read(chapter, folder)):
        if cell.name is None:
            text = link(HINT.sub(r"<details>\1\n\n\2\n\n</details>", cell.source))
            cells.append(nbformat.v4.new_markdown_cell(text, id=f"prose-{number}"))
        else:
            cells.append(_code(cell, outputs[cell.name], language))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _code(cell: Cell, outputs: list[Any], language: Language) -> Any:
    """Return a cell of code with its outputs, described in the language."""
    described = [_described(copy.deepcopy(output), cell.alt) for output in outputs]
    metadata: dict[str, Any] = {"name": cell.name}
    options: dict[str, Any] = {}
    alts = [_alt(output) for output in described]
    if any(alts):
        options["image"] = {"alt": " ".join(filter(None, alts))}
    if cell.name is not None and cell.name.startswith("solution-"):
        metadata["tags"] = ["hide-cell"]
        options["code_prompt_show"] = options["code_prompt_hide"] = language.words["solution"]
    if options:
        metadata["mystnb"] = options
    return nbformat.v4.new_code_cell(
        cell.source, outputs=described, metadata=metadata, id=cell.name
    )


def _described(output: Any, alt: str | None) -> Any:
    """Describe the figure of an output by `alt`, where a language has its own description.

    What is no figure is shown as text without colours: those of a terminal are too pale for a page.
    """
    if _alt(output) is None and "text/plain" in output.get("data", {}):
        output.data.pop("text/html", None)
        output.data["text/plain"] = COLOURS.sub("", output.data["text/plain"])
    if "text" in output:
        output.text = COLOURS.sub("", output.text)
    if alt is not None and (own := _alt(output)) is not None:
        for kind, metadata in output.metadata.items():
            metadata["alt"] = alt
            if kind == "text/html":
                output.data[kind] = output.data[kind].replace(escape(own), escape(alt))
        output.data["text/plain"] = alt
    return output


def _alt(output: Any) -> str | None:
    """Return the description of the figure that an output shows, if it shows one."""
    kinds = output.get("metadata", {}).values()
    return next((kind["alt"] for kind in kinds if isinstance(kind, dict) and "alt" in kind), None)
