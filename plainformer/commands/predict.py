"""`plainformer predict RUN --text … | --file F`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plainformer.base import Inference, plural
from plainformer.base.allocator import limit_kernel_cache
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class PredictOptions:
    """Predict with a fine-tuned model: one JSON object per line, in input order, or a table.

    Of several runs, which must have the same task and labels, the predictions are averaged.
    Without --text and --file it reads standard input: a line that is a JSON object is a row, any
    other line is a text. Each prediction is printed as soon as its line has arrived. A row keeps
    its columns, followed by the prediction; a column of the same name is kept as `given_NAME`.
    """

    run: Positional[tuple[Path, ...]]
    """Folder of the fine-tuned model, or folders of several."""

    text: tuple[str, ...] = ()
    """One or more texts to predict for."""

    file: str | None = None
    """File or URL of texts, one per line, or of rows with the columns of the task (.jsonl .csv .tsv
    .parquet); - is standard input."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review. By default as in training."""

    out: Path | None = None
    """Write to this .jsonl, .csv or .tsv file instead of printing; it appears when it is
    complete."""

    inference: Inference = field(default_factory=Inference)


def run(arguments: Sequence[str]) -> None:
    """Predict, and print an answer for each text."""
    options = parse(PredictOptions, "predict", arguments)
    if options.file not in (None, "-"):
        limit_kernel_cache()
    from plainformer.finetune.prediction.inputs import Inputs
    from plainformer.finetune.prediction.lines import predict_lines
    from plainformer.training import is_main

    written = predict_lines(
        options.run,
        Inputs(options.text, options.file, options.columns),
        options.out,
        options.inference,
    )
    if is_main() and written.placement != "on cpu in fp32":
        print(f"predicted {written.placement}", file=sys.stderr)
    if written.num_cut and is_main():
        cut = plural(written.num_cut, "text was", "texts were")
        print(f"{cut} cut to {written.max_length} tokens", file=sys.stderr)
