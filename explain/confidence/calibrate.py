"""Calibrate a fine-tuned model on labelled rows, and keep what was found in its folder.

    rows → temperature │ thresholds of sets and of abstaining │ measures      a part each

What was fitted to a row is never measured on it, and the thresholds hold for new rows because the
temperature was not fitted to theirs. The model's `task.json` is replaced when all is done, so
that `predict`, `evaluate`, the server and exports obey it; the report stands in RUN/calibration.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plainformer.base import (
    UserError,
    between,
    check_bounds,
    find_folder,
    nan_to_null,
    plural,
    replaced_folder,
    write_json,
)
from plainformer.base.figures import save_png
from plainformer.base.progress import counting
from plainformer.explain.confidence.abstaining import least_confidence
from plainformer.explain.confidence.answered import Answered
from plainformer.explain.confidence.conformal import rank, set_threshold, true_scores
from plainformer.explain.confidence.figure import draw
from plainformer.explain.confidence.report import Abstaining, Coverage, Report, Scaling
from plainformer.explain.confidence.temperature import fit_temperature
from plainformer.finetune import Predictor, read_examples
from plainformer.finetune.calibration import SetScore
from plainformer.finetune.data.leakage import fingerprint
from plainformer.finetune.data.split import folds
from plainformer.finetune.evaluation import against_training
from plainformer.finetune.prediction.predictor import Progress
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import load_task, save_task
from plainformer.finetune.tasks import name_of

FOLDER = "calibration"
"""The folder of the report, in that of the model."""
FIT, CHOOSE, MEASURE = "fit the temperature", "choose the thresholds", "measure"


@dataclass(frozen=True)
class Wanted:
    """The prediction sets and the abstaining to calibrate, beside the temperature."""

    coverage: float | None = None
    """The share of sets or intervals that hold the true answer; None: no sets."""
    sets: SetScore = "lac"
    """The score of an answer by which it comes into the set."""
    risk: float | None = None
    """The largest error among the answered rows; None: every row is answered."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        inside = between(0, 1, open_="[]")
        check_bounds(self, coverage=inside, risk=inside)


def calibrate(
    run: str | Path,
    data: str,
    test: str | None = None,
    wanted: Wanted | None = None,
    columns: Sequence[str] = (),
    quiet: bool = False,
) -> Report:
    """Calibrate the model in `run` on `data`, and measure on `test` or on held-out rows of `data`.

    A named set gives its validation part as `data`, and its test part as `test`. Raises `UserError`
    for a task without probabilities, rows that cannot be read, and too few rows.
    """
    wanted = wanted or Wanted()
    if not Path(run).is_dir():
        raise UserError(f"{run} is no local folder: a calibration is kept beside the model")
    if test is not None and is_same_source(data, test):
        raise UserError(f"{test} is fitted and measured on: give other rows to --test, or none")
    folder = find_folder(run)
    task = load_task(folder).at(1.0)
    parts = parts_of(task, wanted, test is not None)
    with replaced_folder(folder / FOLDER, "calibrate") as out:
        rows, warnings = read_rows(task, folder, data, test, parts, columns, quiet)
        if wanted.coverage is not None:
            rank(len(rows[CHOOSE]), wanted.coverage)  # before the work of predicting
        predictor = Predictor.load(folder)
        with counting("predicting", sum(map(len, rows.values())), quiet=quiet) as advance:
            answered = {what: Answered.of(predictor, some, advance) for what, some in rows.items()}
        with counting("fitting", quiet=quiet) as advance:
            task = fitted(task, answered, wanted, advance)
        report = measured(task, answered, wanted, warnings)
        write_json(out / "calibration.json", nan_to_null(report.to_json()))
        if task.has_probabilities:
            of, predictions = answered[MEASURE], answered[MEASURE].predictions(task)
            sure = np.array([prediction.confidence for prediction in predictions])
            figure = draw(of, task.calibration.temperature, sure, of.right(predictions))
            save_png(figure, out / "calibration.png")
        save_task(task, folder)
    return report


def parts_of(task: AnyTask, wanted: Wanted, has_test: bool) -> list[str]:
    """Return what the rows of the data serve for; raise `UserError` where nothing makes sense."""
    name = name_of(type(task))
    if not task.has_probabilities and not task.has_sets:
        raise UserError(f"{name} has no probabilities of labels, tags or options to calibrate")
    if not task.has_probabilities and wanted.risk is not None:
        raise UserError(f"{name} predicts no probabilities: it cannot abstain by --risk")
    if not task.has_probabilities and wanted.coverage is None:
        raise UserError(
            f"{name} predicts no probabilities, and so has no temperature: --coverage 0.9 gives "
            "its scores an interval"
        )
    if not task.has_probabilities and wanted.sets != "lac":
        raise UserError(f"{name} predicts an interval, not a set: leave out --sets {wanted.sets}")
    if wanted.coverage is not None and not task.has_sets:
        raise UserError(f"{name} does not choose one answer of several: it has no --coverage")
    chooses = wanted.coverage is not None or wanted.risk is not None
    asked = {FIT: task.has_probabilities, CHOOSE: chooses, MEASURE: not has_test}
    return [part for part, is_asked in asked.items() if is_asked]


def read_rows(
    task: AnyTask,
    folder: Path,
    data: str,
    test: str | None,
    parts: Sequence[str],
    columns: Sequence[str],
    quiet: bool,
) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    """Read the rows of each part, and warnings about texts that were trained on.

    Equal texts are in one part. Raises `UserError` for fewer texts than parts.
    """
    kind, naming = type(task), task.naming(columns, task.columns)
    with counting("reading", quiet=quiet) as advance:
        trained, overlap = against_training(task, folder, advance)
        examples = list(read_examples(kind, data, "valid", naming))
        tests = [] if test is None else list(read_examples(kind, test, "test", naming))
    for source, some in ((data, examples), (test, tests)):
        if source is not None and not some:
            raise UserError(f"{source}: there are no rows")
    for example in (*examples, *tests):
        overlap.add(example)
    texts = len({fingerprint(example.split_key) for example in examples})
    if texts < len(parts):
        found = plural(texts, "different text")
        raise UserError(f"{data}: {found} cannot be shared out to {', '.join(parts)}: give more")
    numbers = folds(examples, len(parts), seed=0)
    rows: dict[str, list[Any]] = {part: [] for part in parts}
    for example, number in zip(examples, numbers, strict=True):
        rows[parts[number]].append(example)
    if test is not None:
        rows[MEASURE] = tests
    return rows, overlap.warnings() if trained else ()


def fitted(
    task: AnyTask, answered: dict[str, Answered], wanted: Wanted, progress: Progress
) -> AnyTask:
    """Fit the temperature, and choose the thresholds at it."""
    if task.has_probabilities:
        task = task.at(fit_temperature(answered[FIT], progress))
    if CHOOSE not in answered:
        return task
    of = answered[CHOOSE]
    predictions, found = of.predictions(task), task.calibration
    if wanted.coverage is not None:
        scores = true_scores(task, of.examples, predictions, wanted.sets)
        q = set_threshold(scores, wanted.coverage)
        found = replace(found, set_score=wanted.sets, set_threshold=q)
    if wanted.risk is not None:
        sure = np.array([prediction.confidence for prediction in predictions])
        least = least_confidence(sure, of.right(predictions), wanted.risk)
        found = replace(found, least_confidence=least)
    return replace(task, calibration=found)


def measured(
    task: AnyTask, answered: dict[str, Answered], wanted: Wanted, warnings: tuple[str, ...]
) -> Report:
    """Measure the task, as it will predict, on the rows that nothing was fitted to."""
    of, found = answered[MEASURE], task.calibration
    predictions = of.predictions(task)
    coverage, abstaining = None, None
    if wanted.coverage is not None:
        count = len(answered[CHOOSE].examples)
        coverage = Coverage.of(of.examples, predictions, wanted.coverage, count)
    if wanted.risk is not None:
        abstaining = Abstaining.of(predictions, of.right(predictions), wanted.risk)
    return Report(
        task=name_of(type(task)),
        calibration=found,
        rows={what: len(some.examples) for what, some in answered.items()},
        scaling=Scaling.of(of, found.temperature) if task.has_probabilities else None,
        coverage=coverage,
        abstaining=abstaining,
        warnings=warnings,
    )


def is_same_source(one: str, other: str) -> bool:
    """Return whether two names are of one URL or file; a named set has parts of its own."""
    if "://" in one or "://" in other:
        return one == other
    first, second = Path(one).expanduser(), Path(other).expanduser()
    return first.exists() and second.exists() and first.samefile(second)
