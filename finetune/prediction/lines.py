"""Predict for texts, a file or a stream, and write one answer for each."""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from plainformer.base import AUTO, Inference, UserError, refuse_same_file
from plainformer.base.progress import counting
from plainformer.finetune.ensemble import Folders
from plainformer.finetune.placement import placement_of
from plainformer.finetune.prediction.inputs import Inputs
from plainformer.finetune.prediction.outputs import check_format, open_output, writer
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.training import is_main, processes, world_size


@dataclass(frozen=True)
class Written:
    """The number of answers, and how many of their texts were cut to `max_length` tokens."""

    num_answers: int
    num_cut: int
    max_length: int
    placement: str
    """The device and the number format of the model, such as "on cuda:0 in bf16"."""


def predict_lines(
    folder: Folders,
    inputs: Inputs,
    out: Path | None = None,
    inference: Inference = AUTO,
) -> Written:
    """Predict with the model in `folder`, and write to `out`, by default to standard output.

    Several folders are an ensemble. A stream is answered as it arrives. Of several processes each
    computes a part, and the main one writes.

    Raises:
        UserError: names file and line of an input that cannot be read, or the fault of `out`.
    """
    if out is not None:
        refuse_same_file(out, inputs.file)
        check_format(out)
    if world_size() > 1 and inputs.is_stream:
        raise UserError("a stream cannot be shared out among processes: give a file")
    target = out if is_main() else Path(os.devnull)
    predictor = Predictor.load(folder, **asdict(inference))
    task = predictor.task
    quiet = not is_main() or (out is None and sys.stdout.isatty())
    total = None if quiet else inputs.count(task)
    num_answers = num_cut = 0
    with (
        processes(),
        open_output(target) as file,
        counting("predicting", total, quiet=quiet) as advance,
    ):
        write = writer(file, "" if out is None else out.suffix)
        for portion in inputs.portions(task):
            for row, item, prediction in predictor.predict_rows(portion, advance):
                write(row, prediction)
                num_answers += 1
                num_cut += item.is_cut
    return Written(num_answers, num_cut, task.max_length, placement_of(predictor.model))
