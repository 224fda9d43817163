"""`calibrate` on models of known temperature: what it writes, measures and refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import betabinom

from plainformer.__main__ import main
from plainformer.base import UserError
from plainformer.explain.confidence import Wanted, calibrate
from plainformer.explain.confidence.conformal import rank
from plainformer.finetune import Predictor, evaluate_folder
from plainformer.finetune.calibration import UNCALIBRATED
from plainformer.finetune.task_file import load_task


def test_sets_and_abstaining_on_a_real_model(
    made: Callable[[str], tuple[Path, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, data = made("labels")
    run = shutil.copytree(given, tmp_path / "run")
    options = ["--coverage", "0.8", "--risk", "0.5", "--sets", "aps"]
    assert main(["calibrate", str(run), "--data", str(data), *options]) == 0
    said = capsys.readouterr().out
    assert "coverage measured" in said and "share answered" in said
    written = json.loads((run / "calibration" / "calibration.json").read_text(encoding="utf-8"))
    assert written["rows"] == {
        "fit the temperature": 200,
        "choose the thresholds": 200,
        "measure": 200,
    }
    low, high = betabinom.ppf([0.001, 0.999], 200, rank(200, 0.8), 201 - rank(200, 0.8)) / 200
    assert low <= written["coverage"]["measured"] <= high
    assert written["abstaining"]["error"] <= written["abstaining"]["error_of_all"]
    assert (run / "calibration" / "calibration.png").stat().st_size > 10_000
    assert written["calibration"] == json.loads((run / "task.json").read_text())["calibration"]

    # The same on rows that are evaluated and predicted from the folder.
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    predictions = Predictor.load(run)(rows)
    covered = np.mean([r["label"] in p.set for r, p in zip(rows, predictions, strict=True)])
    assert 0.7 < covered < 0.9 and {p.abstained for p in predictions} == {True, False}
    before, after = (
        evaluate_folder(one, str(data), quiet=True).metric.scores() for one in (given, run)
    )
    assert before["accuracy"] == after["accuracy"]
    assert after["calibration_error"] < before["calibration_error"]


def test_intervals_of_scores(made: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> None:
    given, data = made("score")
    run = shutil.copytree(given, tmp_path / "run")
    report = calibrate(run, str(data), test=None, wanted=Wanted(coverage=0.9), quiet=True)
    assert report.rows == {"choose the thresholds": 300, "measure": 300}
    assert report.scaling is None and report.coverage is not None
    assert report.coverage.size == pytest.approx(2 * 1.645, rel=0.15)  # of a normal distribution
    low, high = betabinom.ppf([0.001, 0.999], 300, 271, 30) / 300
    assert low <= report.coverage.measured <= high
    (found,) = Predictor.load(run)(["the red hen"])
    assert found.interval[1] - found.score == pytest.approx(report.calibration.set_threshold)


def test_rows_to_measure_on_may_be_given(
    made: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    given, data = made("labels")
    run = shutil.copytree(given, tmp_path / "run")
    lines = data.read_text(encoding="utf-8").splitlines()
    test = tmp_path / "test.jsonl"
    test.write_text("\n".join(lines[:100]), encoding="utf-8")
    report = calibrate(run, str(data), str(test), quiet=True)
    assert report.rows == {"fit the temperature": 600, "measure": 100}


@pytest.mark.parametrize(
    ("name", "wanted", "fault"),
    [
        ("score", Wanted(), "has no temperature: --coverage 0.9"),
        ("score", Wanted(coverage=0.9, risk=0.1), "cannot abstain"),
        ("score", Wanted(coverage=0.9, sets="aps"), "leave out --sets aps"),
        ("vectors", Wanted(), "sentence-embedding has no probabilities of labels"),
        ("answers", Wanted(), "question-answering has no probabilities of labels"),
        ("tags", Wanted(coverage=0.9), "does not choose one answer"),
        ("labels", Wanted(coverage=0.999), "needs 999 calibration rows"),
        ("labels", Wanted(risk=0.001), "do not show that the model errs"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    name: str, wanted: Wanted, fault: str, made: Callable[[str], tuple[Path, Path]]
) -> None:
    run, data = made(name)
    with pytest.raises(UserError, match=fault):
        calibrate(run, str(data), wanted=wanted, quiet=True)
    assert not (run / "calibration").exists()
    assert load_task(run).calibration == UNCALIBRATED


def test_bad_rows_and_options(
    made: Callable[[str], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = made("labels")
    strange = tmp_path / "strange.csv"
    strange.write_text("text,label\nthe hen,a\nthe owl,z\nthe cat,b\n", encoding="utf-8")
    single = tmp_path / "single.csv"
    single.write_text("text,label\nthe hen,a\n", encoding="utf-8")
    for arguments, fault in (
        ([str(run), "--data", str(strange)], "strange.csv:3: the label 'z'"),
        (
            [str(run), "--data", str(single)],
            "1 different text cannot be shared out to fit the temp",
        ),
        ([str(run), "--data", str(data), "--test", str(data)], "fitted and measured on"),
        ([str(run), "--data", str(data), "--coverage", "1"], "coverage must be between 0 and 1"),
        ([str(run), "--data", str(data), "--risk", "nan"], "risk must be"),
        (["minilm", "--data", str(data)], "no local folder"),
        ([str(tmp_path), "--data", str(data)], "holds no task.json"),
    ):
        assert main(["calibrate", *arguments]) == 2
        said = capsys.readouterr().err
        assert fault in said and said.count("\n") == 1
    assert load_task(run).calibration == UNCALIBRATED
