"""`plainformer calibrate RUN --data F`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import between, check_bounds, refuse_unused
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class CalibrateOptions:
    """Calibrate a fine-tuned model: make its probabilities agree with how often it is right.

    A temperature is fitted to labelled rows that the model was not trained on. It changes no label,
    and is kept in the folder: predict, evaluate, serve and export obey it. Part of the rows is held
    out, and all figures are measured on that part. With --coverage predictions come with a set of
    labels, or a score with an interval; with --risk the model abstains where it is too unsure.
    The report and a reliability diagram are written to RUN/calibration.
    """

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    data: str
    """Labelled rows: a file, a URL, or the name of a data set (its validation split)."""

    test: str | None = None
    """Measure on these labelled rows (of a data set: its test split), and use all of --data. By
    default an equal part of --data is held out."""

    columns: tuple[str, ...] = ()
    """Read these columns of the files: --columns text=review label=stars. By default those of
    training."""

    coverage: float | None = None
    """Predict sets that hold the true label this often, for tasks that choose one label, or
    intervals of scores. 0.9 is usual."""

    sets: Literal["lac", "aps"] = "lac"
    """Method of making sets: lac, the labels above one probability, smallest on average; aps, the
    most probable labels up to one sum, larger where the model is unsure."""

    risk: float | None = None
    """Abstain below a confidence that is chosen so that at most this share of the answers is wrong,
    with 95 % certainty. 0.05 is usual."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        inside = between(0, 1, open_="[]")
        check_bounds(self, coverage=inside, risk=inside)
        if self.coverage is None:
            refuse_unused(self, ("sets",), "coverage")


def run(arguments: Sequence[str]) -> None:
    """Calibrate, and print the tables."""
    options = parse(CalibrateOptions, "calibrate", arguments)
    from plainformer.deploy.card import refresh_card
    from plainformer.explain.confidence import Wanted, calibrate
    from plainformer.tables import print_table

    report = calibrate(
        options.run,
        options.data,
        options.test,
        Wanted(options.coverage, options.sets, options.risk),
        columns=options.columns,
    )
    refresh_card(options.run)
    for table in report.tables():
        print_table(table)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(report.sentence)
    if report.scaling is not None:
        print(f"the temperature is {report.calibration.temperature:.4g}")
    if report.calibration.least_confidence is not None:
        print(f"it answers from a confidence of {report.calibration.least_confidence:.4g} on")
    print(f"{options.run / 'task.json'} has it; the report is in {options.run / 'calibration'}")
