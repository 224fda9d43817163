"""Evaluation on the command line: tables, warnings, a report, and memory that does not grow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plainformer.base import Inference
from plainformer.finetune import Predictor, evaluate_folder
from plainformer.finetune.prediction.predictor import CHUNK
from plainformer.finetune.tasks.classification import ClassExample
from tests.plainformer.conftest import ROOT
from tests.pretrain import tiny

REPORT = {
    ".plainformer",
    "report.html",
    "metrics.json",
    "confusion.png",
    "roc.png",
    "calibration.png",
}


@pytest.fixture
def run(classifier, tmp_path) -> Path:
    """The classifier's folder, to be written into."""
    folder = tmp_path / "run"
    folder.mkdir()
    for path in classifier.iterdir():
        if path.is_file():
            (folder / path.name).symlink_to(path)
    return folder


def test_in_int8_it_leaves_a_report_of_its_own(call, run, examples):
    assert call("evaluate", run, "--data", examples, "--int8").code == 0
    report = json.loads((run / "evaluation-examples.tsv-int8" / "metrics.json").read_text())
    rounded = evaluate_folder(
        run, str(examples), quiet=True, inference=Inference(int8=True)
    ).metric.scores()
    whole = evaluate_folder(run, str(examples), quiet=True).metric.scores()
    assert report["calibration_error"] == rounded["calibration_error"]
    assert 0 < abs(whole["calibration_error"] - rounded["calibration_error"]) < 0.01


def test_a_report_is_left_in_the_run(call, run, examples):
    code, out, err = call("evaluate", run, "--data", examples)
    report = run / "evaluation-examples.tsv"
    assert code == 0 and {path.name for path in report.iterdir()} == REPORT
    wanted = evaluate_folder(run, str(examples), quiet=True)
    saved = json.loads((report / "metrics.json").read_text())
    assert saved["accuracy"] == wanted.metric.scores()["accuracy"]
    assert f"accuracy {saved['accuracy']:.3f}" in out
    assert out.endswith(f"the report is {report / 'report.html'}\n")
    assert "warning: 24 of 24 examples have a text that was trained on" in err
    assert "cut to" not in out
    before = (report / "metrics.json").stat().st_mtime_ns
    assert call("evaluate", run, "--data", examples).code == 0
    assert (report / "metrics.json").stat().st_mtime_ns > before


def test_a_report_goes_where_it_is_told(call, classifier, tmp_path):
    long = tmp_path / "a <b>.csv"
    long.write_text(f"text,label\nhen,bird\n{' '.join(tiny.sentences(20))},bird\n")
    out = tmp_path / "deep" / "report"
    said = call("evaluate", classifier, "--data", long, "--out", out)
    assert said.code == 0 and {path.name for path in out.iterdir()} == REPORT
    assert "1 text was cut to 32 tokens\n" in said.out
    assert "labels that occur only in the training examples: '[b]beast[/b]'" in said.err
    assert "a &lt;b&gt;.csv" in (out / "report.html").read_text()


def test_what_is_no_folder_for_a_report(refused, run, examples, tmp_path):
    before = sorted(path.name for path in run.iterdir())
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", run, run / ".." / "run"):
        message = refused("evaluate", run, "--data", examples, "--out", out)
        assert "folder" in message and "choose another" in message
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_fault_is_found_before_any_work(refused, run, tmp_path):
    bad = tmp_path / "bad.tsv"
    bad.write_text("text\tlabel\n" + "the hen\tbird\n" * 3000 + "the hen\n")
    assert f"{bad}:3002: 1 value under 2 columns" in refused("evaluate", run, "--data", bad)
    assert not (run / "evaluation-bad.tsv").exists()


def test_examples_are_read_as_they_are_answered(classifier):
    """A thousand at a time, however many there are."""
    predictor = Predictor.load(classifier)
    read = []

    def examples():
        for number in range(3000):
            read.append(number)
            yield ClassExample(text="the hen", label="bird", source="f:1")

    answers = predictor.predict_examples(examples())
    for answered in range(0, 3000, 500):
        next(answers)
        assert len(read) <= answered + CHUNK
        for _ in range(499):
            next(answers)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_set(classifier, tmp_path):
    """Ten times as many texts need no more than what a few megabytes of noise explain."""

    def peak(count: int) -> subprocess.Popen:
        path = tmp_path / f"{count}.tsv"
        with path.open("w") as file:
            file.write("text\tlabel\n")
            for number in range(count):
                file.write(f"the {number} hen {'pecks ' * (number * number % 23)}\tbird\n")
        command = [
            sys.executable,
            "-m",
            "tests.programs.peak_of_evaluate",
            classifier,
            "--data",
            path,
        ]
        command += ["--out", tmp_path / str(count)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )

    few, many = (
        int(re.search(r"(\d+)\n\Z", process.communicate()[0]).group(1))
        for process in (peak(2000), peak(20_000))
    )
    assert many - few < 30, f"{few} MB for 2,000 texts, {many} MB for 20,000"
