"""Run a chapter as a notebook, and keep the outputs of its cells for as long as they are valid."""

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import plainformer
from plainformer.base import UserError
from walkthrough.chapters import HERE, english

Outputs = dict[str, list[Any]]
"""The outputs of each cell, by its name."""


def execute(chapter: str, folder: Path, cache: Path) -> tuple[Outputs, bool]:
    """Return the outputs of a chapter's cells, and whether it had to be run for them.

    Raises:
        UserError: a cell fails.
    """
    kept = cache / f"{chapter}.{_source_hash(chapter, folder)}.ipynb"
    is_new = not kept.is_file()
    if is_new:
        notebook = _run(chapter, folder)
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"{chapter}.*.ipynb"):
            old.unlink()
        nbformat.write(notebook, kept)
    notebook = nbformat.read(kept, as_version=4)
    return {cell.id: cell.outputs for cell in notebook.cells}, is_new


def _run(chapter: str, folder: Path) -> Any:
    """Run a chapter in a kernel of this environment, in a folder of its own."""
    cells = [cell for cell in english(chapter, folder) if cell.name is not None]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell.source, id=cell.name) for cell in cells]
    )
    path = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        "GOMP_SPINCOUNT": "4000",  # threads that wait sleep soon, as on the command line
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
    with tempfile.TemporaryDirectory() as scratch:
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": scratch}},
            extra_arguments=["--log-level=ERROR"],
        )
        try:
            client.execute(env=environment)
        except CellExecutionError:
            cell, traceback = next(
                (cell, output.traceback)
                for cell in notebook.cells
                for output in cell.outputs
                if output.output_type == "error"
            )
            lines = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(traceback)).splitlines()
            message = f"{chapter}.py: the cell {cell.id} fails:\n" + "\n".join(lines[-12:])
            raise UserError(message) from None
    return notebook


def _source_hash(chapter: str, folder: Path) -> str:
    """Hash what the outputs depend on: code, and versions; the prose of the chapter is not."""
    digest = hashlib.sha256(f"{sys.version} {torch.__version__}".encode())
    for cell in english(chapter, folder):
        if cell.name is not None:
            digest.update(f"{cell.name}\n{cell.source}\n".encode())
    package = Path(plainformer.__file__).parent
    for file in [HERE / "guide.py", *_python_files(package)]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _python_files(package: Path) -> list[Path]:
    """Return the source files of a package, those behind its links included."""
    return sorted(
        Path(folder) / name
        for folder, _, names in os.walk(package, followlinks=True)
        for name in names
        if name.endswith(".py")
    )
