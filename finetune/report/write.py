"""Evaluate a fine-tuned model and write its report."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from plainformer.base import UserError, find_folder, replaced_folder
from plainformer.finetune.evaluation import Evaluation, evaluate_folder
from plainformer.finetune.report.page import write_report
from plainformer.training import is_main, processes


def evaluate_and_report(
    run: Path,
    data: str,
    out: Path | None = None,
    columns: Sequence[str] = (),
    int8: bool = False,
) -> tuple[Evaluation, Path]:
    """Evaluate the model in `run` on `data`; return the evaluation and the path of its report page.

    The report is written into `out`, by default a folder in `run` named after the data. With
    several processes, each predicts a part of the examples, and the main one writes. Raises
    `UserError` as `evaluate_folder` does, and where `out` is the folder of the model.
    """
    find_folder(run)
    name = Path(data.partition("?")[0]).name  # without the query of a URL
    out = out or run / f"evaluation-{name}{'-int8' if int8 else ''}"
    if out.resolve() == run.resolve():
        raise UserError(f"{out} is the folder of the model: choose another --out")
    with processes(), replaced_folder(out, "evaluate") if is_main() else nullcontext() as folder:
        evaluation = evaluate_folder(run, data, quiet=not is_main(), int8=int8, columns=columns)
        page = out if folder is None else out / write_report(folder, evaluation, run, data).name
    return evaluation, page
