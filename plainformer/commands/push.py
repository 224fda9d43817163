"""`plainformer push RUN USER/NAME`."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.base import UserError
from plainformer.base.extras import need
from plainformer.line import Positional
from plainformer.options import parse

WORD = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class PushOptions:
    """Upload a model to the Hugging Face hub: weights, config, tokenizer, task and model card.

    Checkpoints, logs, options, pictures and data of a run stay here. The files are listed first,
    and you are asked. Files of the same names that are on the hub already are replaced.
    """

    run: Positional[Path]
    """Folder of the model: a run, or what shrink, soup, convert or export made."""

    repository: Positional[str]
    """Its place on the hub: USER/NAME. It is made if it is not there."""

    private: bool = False
    """Make the repository private. One that is there and public is refused."""

    license: str | None = None
    """The licence under which you share the model, by the hub's name: apache-2.0, mit, cc-by-4.0,
    other. It is written into the README.md of the folder, too."""

    language: tuple[str, ...] = ()
    """The languages that the model is for, by their codes: en zh. Written into the README.md, too.
    A run on a named data set knows them already."""

    yes: bool = False
    """Upload without asking."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        for name, words in (("license", (self.license,)), ("language", self.language)):
            for word in words:
                if word is not None and not WORD.fullmatch(word):
                    hint = "apache-2.0" if name == "license" else "en"
                    raise UserError(f"{name} must be as the hub has it: {hint}, not {word!r}")


def run(arguments: Sequence[str]) -> None:
    """List the files, ask, and upload."""
    options = parse(PushOptions, "push", arguments)
    need("huggingface_hub", extra="hub", purpose="uploading to the hub")
    if not options.run.is_dir():
        raise UserError(f"there is no folder {options.run}")
    from plainformer.deploy.push import check_repository, files_to_push, look, prepare_card, push
    from plainformer.finetune.metrics import Table
    from plainformer.tables import print_table

    check_repository(options.repository)
    files_to_push(options.run, options.repository)
    there = look(options.repository, options.private)
    given: dict[str, Any] = {"license": options.license, "language": list(options.language)}
    prepare_card(options.run, {name: value for name, value in given.items() if value})
    uploads = files_to_push(options.run, options.repository)
    sizes = [(one.name, f"{one.size / 1e6:,.3f}") for one in uploads]
    total = sum(one.size for one in uploads) / 1e6
    print_table(Table("files", ("file", "MB"), [*sizes, ("all", f"{total:,.3f}")]))
    sight = "private" if there.private else "public"
    place = f"{options.repository} ({sight}, {'there already' if there.exists else 'new'})"
    if not options.yes and not asked(f"upload these files to {place}?"):
        print("nothing was uploaded")
        return
    address = push(uploads, options.repository, options.private)
    print(f"the model is at {address}")


def asked(question: str) -> bool:
    """Ask a question on the terminal; raise `UserError` where nobody can answer."""
    if not sys.stdin.isatty():
        raise UserError(f"{question} say --yes: there is no terminal to ask on")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
