"""`plainformer predict RUN --text … | --file F`."""

import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import tyro

from cellar import UserError, atomic_path, finite
from plainformer.options import parse

if TYPE_CHECKING:
    from corpora import Row
    from finetune import Predictor

DECIMALS = 6
STANDARD_INPUT = Path("standard input")


@dataclass(frozen=True)
class PredictOptions:
    """Use a fine-tuned model: one JSON object a line, in the order of what is read.

    Without --text and --file, standard input is read, and answered as it comes: a line that is a
    JSON object is a row, any other line a text. A line of the answer has the row's `id`, or, where
    it has none, its text.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the fine-tuned model."""

    text: tuple[str, ...] = ()
    """Texts to predict for."""

    file: Path | None = None
    """A file of texts, a line each, or of rows with the columns that the task reads (.jsonl .csv
    .tsv .parquet); - is standard input."""

    columns: tuple[str, ...] = ()
    """What the columns are called: --columns text=review. By default as in training."""

    out: Path | None = None
    """Write to this file, which appears when it is complete, instead of printing."""

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
    if options.out is not None and options.out.is_dir():
        raise UserError(f"{options.out} is a folder: name a file for --out")
    from finetune import Predictor
    from finetune.progress import counting

    predictor = Predictor.load(options.run, int8=options.int8)
    quiet = options.out is None and sys.stdout.isatty()
    total = None if quiet else count(options, predictor)
    num_cut = 0
    with output(options.out) as file, counting("predicting", total, quiet=quiet) as advance:
        for portion in portions(options, predictor):
            waiting: deque[Row] = deque()
            examples = reading(portion, predictor, waiting)
            for example, item, prediction in predictor.stream(examples, advance):
                shown = predictor.task.shown(example)
                line = {**named(waiting.popleft(), shown), **rounded(prediction.to_json())}
                print(
                    json.dumps(finite(line), ensure_ascii=False, default=str), file=file, flush=True
                )
                num_cut += item.is_cut
    if num_cut:
        longest = predictor.task.max_length
        print(f"{num_cut:,} texts were cut to {longest} tokens", file=sys.stderr)


def portions(options: PredictOptions, predictor: "Predictor") -> Iterator[Iterable["Row"]]:
    """What is asked, in portions of which each is answered before the next is read."""
    from finetune.inputs import arriving_rows, file_rows
    from finetune.task import as_rows

    path = options.file
    columns = predictor.task.naming(options.columns, predictor.task.columns)
    if options.text:
        yield as_rows(options.text)
    elif path is None or str(path) == "-":
        arriving = arriving_rows(partial(os.read, sys.stdin.fileno()), STANDARD_INPUT)
        yield from map(columns.of, arriving)
    elif is_stream(path):
        with path.open("rb", buffering=0) as stream:
            yield from map(columns.of, arriving_rows(stream.read, path))
    else:
        yield file_rows(type(predictor.task), path, columns)


def count(options: PredictOptions, predictor: "Predictor") -> int | None:
    """How many rows there are, up to one that cannot be read; None where only time will tell."""
    path = options.file
    if not options.text and (path is None or str(path) == "-" or is_stream(path)):
        return None
    number = 0
    try:
        for portion in portions(options, predictor):
            for _ in portion:
                number += 1
    except UserError:
        pass
    return number


def is_stream(path: Path) -> bool:
    """Whether a path can be read only once: a named pipe, `<(…)`, /dev/stdin."""
    return path.is_fifo() or path.is_char_device()


def is_piped(stream: TextIO | None) -> bool:
    """Whether anything but a person's keyboard is at the other end."""
    return stream is not None and not stream.isatty()


def reading(rows: Iterable["Row"], predictor: "Predictor", waiting: deque["Row"]) -> Iterator[Any]:
    """The examples of these rows, which wait for their answers."""
    for row in rows:
        example = predictor.task.read(row, labelled=False)
        waiting.append(row)
        yield example


def named(row: "Row", shown: str) -> dict[str, Any]:
    """By what an answer is known: the row's `id`, or its text, or what a person reads of it."""
    if row.fields.get("id") is not None:
        return {"id": row.fields["id"]}
    if row.fields.get("text") is None:
        return {"text": shown}
    text = row.string("text")
    return {"text": text if row.fields.get("pair") is None else [text, row.string("pair")]}


def rounded(value: Any) -> Any:
    """The same value, with numbers to six places."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


@contextmanager
def output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears when all is written."""
    if path is None:
        yield sys.stdout
    else:
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield file
