"""Read the chapters: cells of code with names, and the prose of two languages around them.

A chapter is `NN_name.py` in jupytext's percent format, with English prose. `zh/NN_name.md` is its
Chinese page: prose that inserts the cells of the chapter, in their order, by their names:

    ```{cell} heat-map
    :alt: 说明这幅图的文字
    ```
"""

import re
from dataclasses import dataclass
from pathlib import Path

import jupytext

HERE = Path(__file__).parent
INSERTED = re.compile(r"^```\{cell\} (?P<name>\S+)\n(?::alt: (?P<alt>.+)\n)?```$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell of a chapter: code with its name, or prose."""

    source: str
    name: str | None = None
    """The name of a cell of code; None: prose."""
    alt: str | None = None
    """The description of the figure that the code shows, where a Chinese page gives one."""


def chapters(folder: Path = HERE) -> list[str]:
    """Return the names of all chapters, in order."""
    return sorted(path.stem for path in folder.glob("[0-9][0-9]_*.py"))


def english(chapter: str, folder: Path = HERE) -> list[Cell]:
    """Read a chapter with its English prose."""
    notebook = jupytext.read(folder / f"{chapter}.py", fmt="py:percent")
    return [
        Cell(cell.source, cell.metadata.get("title", "") if cell.cell_type == "code" else None)
        for cell in notebook.cells
    ]


def chinese(chapter: str, folder: Path = HERE) -> list[Cell]:
    """Read a chapter with its Chinese prose.

    Raises:
        KeyError: the page inserts a cell that the chapter does not have.
    """
    code = {cell.name: cell.source for cell in english(chapter, folder) if cell.name is not None}
    text = (folder / "zh" / f"{chapter}.md").read_text(encoding="utf-8")
    cells, end = [], 0
    for inserted in INSERTED.finditer(text):
        cells.append(Cell(text[end : inserted.start()].strip()))
        name = inserted["name"]
        cells.append(Cell(code[name], name, inserted["alt"]))
        end = inserted.end()
    cells.append(Cell(text[end:].strip()))
    return [cell for cell in cells if cell.source]
