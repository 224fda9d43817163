"""`plainformer predict RUN --text … | --file F`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from plainformer.base import UserError, atomic_path, is_stream, plural, refuse_same_file
from plainformer.base.allocator import limit_kernel_cache
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class PredictOptions:
    """Predict with a fine-tuned model: one JSON object per line, in input order, or a table.

    Without --text and --file, standard input is read, and predicted as it arrives: a line that is a
    JSON object is a row, any other line a text. A row keeps its columns, followed by the
    prediction; a column of the same name is kept as `given_NAME`.
    """

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    text: tuple[str, ...] = ()
    """Texts to predict for."""

    file: str | None = None
    """File or URL of texts, one per line, or of rows with the columns of the task (.jsonl .csv .tsv
    .parquet); - is standard input."""

    columns: tuple[str, ...] = ()
    """Map field names to columns: --columns text=review. By default as in training."""

    out: Path | None = None
    """Write to this .jsonl, .csv or .tsv file, when it is complete, instead of printing."""

    int8: bool = False
    """Round the matrices of the blocks to 8 bits, which a CPU multiplies faster. `evaluate --int8`
    tells what it costs."""


def run(arguments: Sequence[str]) -> None:
    """Predict, and print a line for each text."""
    options = parse(PredictOptions, "predict", arguments)
    if options.text and options.file is not None:
        raise UserError("give either --text or --file, not both")
    if not options.text and options.file is None and not is_piped(sys.stdin):
        raise UserError("give --text or --file, or pipe texts into standard input")
    if options.out is not None:
        refuse_same_file(options.out, options.file)
    if options.file not in (None, "-"):
        limit_kernel_cache()
    from plainformer.finetune import Predictor
    from plainformer.finetune.prediction.inputs import Asked
    from plainformer.finetune.prediction.outputs import check_format, writer
    from plainformer.finetune.progress import counting

    if options.out is not None:
        check_format(options.out)
    predictor = Predictor.load(options.run, int8=options.int8)
    task, asked = predictor.task, Asked(options.text, options.file)
    columns = task.naming(options.columns, task.columns)
    quiet = options.out is None and sys.stdout.isatty()
    total = None if quiet else asked.count(task, columns)
    num_cut = 0
    with output(options.out) as file, counting("predicting", total, quiet=quiet) as advance:
        write = writer(file, "" if options.out is None else options.out.suffix)
        for portion in asked.portions(task, columns):
            for row, item, prediction in predictor.answers(portion, advance):
                write(row, prediction)
                num_cut += item.is_cut
    if num_cut:
        cut = plural(num_cut, "text was", "texts were")
        print(f"{cut} cut to {task.max_length} tokens", file=sys.stderr)


def is_piped(stream: TextIO | None) -> bool:
    """Whether anything but a person's keyboard is at the other end."""
    return stream is not None and not stream.isatty()


@contextmanager
def output(path: Path | None) -> Iterator[TextIO]:
    """Open standard output, a pipe, or a file that appears when it is complete."""
    if path is None:
        yield sys.stdout
    elif is_stream(path):
        with path.open("a", encoding="utf-8", newline="") as file:
            yield file
    else:
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            yield file
