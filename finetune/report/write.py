"""Evaluate a fine-tuned model and write its report."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from plainformer.base import AUTO, Inference, UserError, find_folder, replaced_folder
from plainformer.finetune.ensemble import Folders, folders_of
from plainformer.finetune.evaluation import Evaluation, evaluate_folder
from plainformer.finetune.report.page import write_report
from plainformer.training import is_main, processes


def evaluate_and_report(
    run: Folders,
    data: str,
    out: Path | None = None,
    columns: Sequence[str] = (),
    inference: Inference = AUTO,
) -> tuple[Evaluation, Path]:
    """Evaluate the model in `run` on `data`; return the evaluation and the path of its report page.

    Several runs are an ensemble. The report is written into `out`, by default a folder in `run`,
    the first of several, named after the data. With
    several processes, each predicts a part of the examples, and the main one writes. Raises
    `UserError` as `evaluate_folder` does, and where `out` is the folder of the model.
    """
    runs = folders_of(run)
    for each in runs:
        find_folder(each)
    name = Path(data.partition("?")[0]).name  # without the query of a URL
    kind = "evaluation" if len(runs) == 1 else f"ensemble-of-{len(runs)}"
    out = out or runs[0] / f"{kind}-{name}{'-int8' if inference.int8 else ''}"
    if out.resolve() in (each.resolve() for each in runs):
        raise UserError(f"{out} is the folder of the model: choose another --out")
    with processes(), replaced_folder(out, "evaluate") if is_main() else nullcontext() as folder:
        evaluation = evaluate_folder(run, data, not is_main(), inference, columns)
        page = out if folder is None else out / write_report(folder, evaluation, run, data).name
    return evaluation, page
