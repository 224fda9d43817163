"""Write the cards of models that were made of others: a soup, a converted or a merged folder.

soup_card(Path("runs/soup"), ["runs/a", "runs/b"], "valid.tsv", {"accuracy": 0.9}, 100)
converted_card(Path("new"), Path("old"), is_merged=False)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from plainformer.base import plural
from plainformer.deploy.card.facts import Facts
from plainformer.deploy.card.names import file_name
from plainformer.deploy.card.results import Data, Result
from plainformer.deploy.card.write import CARD, write_card


def soup_card(
    folder: Path,
    used: Sequence[str | Path],
    data: str | None,
    scores: Mapping[str, float],
    examples: int | None,
) -> None:
    """Write the card of the mean of some runs; the first of them tells how they were trained."""
    others, results = [file_name(str(run)) for run in used[1:]], list[Result]()
    words = ["soup", "RUN", *others]
    if data is not None:
        source = Data.of(data)
        words += ["--data", source.name]
        part = "validation part" if source.known else ""
        results = [Result(source, part, examples, scores)]
    note = (
        f"`plainformer soup` averaged the weights of {plural(len(used), 'run')} that began from "
        "the same model."
    )
    made = "as the mean of several runs"
    facts = Facts.of_made(folder, used[0], made, [*words, "--out", "DIR"], results, note)
    write_card(folder, facts)


def converted_card(folder: Path, source: Path, is_merged: bool) -> None:
    """Write the card of a folder that `plainformer convert` wrote, unless it came with one."""
    if (folder / CARD).exists():
        return
    made = "with its adapter merged" if is_merged else "in safetensors"
    note = "`plainformer convert` wrote it; the model is the same."
    words = ["convert", "RUN", "--out", "DIR"]
    write_card(folder, Facts.of_made(folder, source, made, words, [], note))
