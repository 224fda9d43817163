"""`plainformer explain RUN --text … | --file F`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import UserError, at_least, check_bounds, refuse_no_folder
from plainformer.line import Positional
from plainformer.options import parse

Method = Literal[
    "integrated-gradients",
    "gradient-x-input",
    "occlusion",
    "rollout",
    "relevance",
    "lime",
    "shap",
    "partition-shap",
]


@dataclass(frozen=True)
class ExplainOptions:
    """Explain what a fine-tuned model decides: how much each word speaks for it or against it.

    Each explanation is judged: does the decision fall when its first words are masked
    (comprehensiveness), and do they suffice alone (sufficiency)? A random order stands beside it.
    """

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    text: tuple[str, ...] = ()
    """One or more texts to explain the decisions for."""

    file: str | None = None
    """File or URL of texts, one per line, or of rows with the columns of the task (.jsonl .csv .tsv
    .parquet); - is standard input."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review. By default as in training."""

    method: Method = "integrated-gradients"
    """The method of attribution. integrated-gradients: the sum is what masking all words changes,
    by up to 513 points; gradient-x-input: its first order, in one pass; occlusion: mask each word;
    rollout: how much attention carries from each word to the output, never
    negative; relevance: the decision, passed down layer by
    layer; lime, shap and partition-shap: 512 maskings with each of
    two seeds, by their libraries (pip install
    'plainformer[explain]')."""

    limit: int = 100
    """Explain at most this many inputs of the file."""

    seed: int = 0
    """Seed of what is random: lime, shap, and the random orders."""

    out: Path | None = None
    """Write one HTML page with all explanations to this file, too."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, limit=at_least(1), seed=at_least(0))
        if self.out is not None and self.out.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"{self.out} must end in .html: it is a page")
        refuse_no_folder(self.out)


def run(arguments: Sequence[str]) -> None:
    """Explain, and print an explanation for each decision."""
    options = parse(ExplainOptions, "explain", arguments)
    from rich.console import Console

    from plainformer.base.progress import late_bar
    from plainformer.explain.attribution import Explainer
    from plainformer.explain.attribution.page import write_page
    from plainformer.explain.attribution.terminal import print_explanation
    from plainformer.finetune.prediction.inputs import Inputs

    inputs = Inputs(options.text, options.file, options.columns)
    explainer = Explainer.load(options.run)
    console, kept = Console(highlight=False), []
    some = inputs.first(explainer.predictor.task, options.limit)

    def watch(number: int) -> AbstractContextManager[Callable[[int], None]]:
        return late_bar(f"text {number}", "passes")

    for found in explainer.explain_rows(some, options.method, options.seed, watch):
        for one in found:
            print_explanation(one, console)
        if not found:
            console.print("no decision to explain: every word has the tag O\n")
        kept.append(found)
    if not kept:
        raise UserError("there is no text to explain")
    if options.out is not None:
        write_page(options.out, options.run.name or options.run.resolve().name, kept)
        console.print(f"{options.out} is written")
