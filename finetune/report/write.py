"""Evaluate a fine-tuned model, and write a report of it."""

from collections.abc import Sequence
from pathlib import Path

from plainformer.base import UserError, find_folder, replaced_folder
from plainformer.finetune.evaluation import Evaluation, evaluate_folder
from plainformer.finetune.report.page import write_report


def evaluate_and_report(
    run: Path,
    data: str,
    out: Path | None = None,
    columns: Sequence[str] = (),
    int8: bool = False,
) -> tuple[Evaluation, Path]:
    """Evaluate the model in `run` on `data`; return the evaluation and the page of its report.

    The report goes into `out`, by default a folder in `run` that is named after the data. Raises
    `UserError` as `evaluate_folder` does, and for an `out` that is the folder of the model.
    """
    find_folder(run)
    name = Path(data.partition("?")[0]).name  # without the query of a URL
    out = out or run / f"evaluation-{name}{'-int8' if int8 else ''}"
    if out.resolve() == run.resolve():
        raise UserError(f"{out} is the folder of the model: choose another --out")
    with replaced_folder(out, "evaluate") as folder:
        evaluation = evaluate_folder(run, data, int8=int8, columns=columns)
        page = write_report(folder, evaluation, run, data)
    return evaluation, out / page.name
