"""Seeds, search and folds: each run is what it would be alone, and what is left is the best."""

import json
import math
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError, nan_to_null, write_text
from plainformer.commands.finetune import run as command
from plainformer.finetune import FinetuneConfig, Predictor, evaluate_folder, finetune
from plainformer.finetune.data.split import folds
from plainformer.finetune.metrics import rankable
from plainformer.finetune.promote import promote
from plainformer.finetune.sweep import Summary
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.training import LoopConfig
from tests.finetune.conftest import rows

TRAINING = LoopConfig(learning_rate=1e-2, seed=3, checkpoint_every=0, patience=5, eval_every=0)
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> dict[str, str]:
    """Few examples, and labels that are hard to come by: runs differ."""
    folder = tmp_path_factory.mktemp("few")
    for seed, split in enumerate(("train", "valid")):
        lines = "".join(f"{text}\t{label}\n" for text, label in rows(60 - 20 * seed, seed))
        write_text(folder / f"{split}.tsv", "text\tlabel\n" + lines)
    return {split: str(folder / f"{split}.tsv") for split in ("train", "valid")}


@pytest.fixture(scope="module")
def base(models, few, tmp_path_factory) -> FinetuneConfig:
    return FinetuneConfig(
        model=models["modern"],
        train=few["train"],
        valid=few["valid"],
        out=tmp_path_factory.mktemp("base") / "run",
        epochs=2.0,
        batch_size=6,
        max_length=32,
        training=TRAINING,
    )


@pytest.fixture(scope="module")
def three(base) -> tuple[FinetuneConfig, Summary]:
    config = replace(base, seeds=3, out=base.out.with_name("three"))
    return config, finetune(config, quiet=True)


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def test_a_seed_is_the_run_that_it_would_be_alone(base, three):
    config, summary = three
    training = replace(TRAINING, seed=4)
    alone = replace(base, training=training, out=base.out.with_name("alone"))
    outcome = finetune(alone, quiet=True)
    assert (alone.out / WEIGHTS).read_bytes() == (config.out / "seed-4" / WEIGHTS).read_bytes()
    assert summary.runs["seed-4"] == outcome.metric.scores()
    assert list(summary.runs) == ["seed-3", "seed-4", "seed-5"]


def test_the_summary_is_mean_and_deviation_of_every_score(three):
    config, summary = three
    written = summary_of(config.out)
    for name, score in written["scores"].items():
        values = [summary_of(config.out)["runs"][f"seed-{seed}"][name] for seed in (3, 4, 5)]
        assert score["values"] == values
        assert score["mean"] == pytest.approx(np.mean(values))
        assert score["sd"] == pytest.approx(np.std(values, ddof=1))
    valid = json.loads((config.out / "seed-5" / "metrics.json").read_text())["valid"]
    assert written["runs"]["seed-5"]["accuracy"] == valid["accuracy"]
    (table,) = summary.tables()
    values = summary.scores["macro_f1"]
    shown = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert ("macro_f1", shown, f"{min(values):.3f} – {max(values):.3f}") in table.rows


def test_the_best_run_is_what_the_folder_holds(three, few):
    config, summary = three
    accuracies = {name: scores["accuracy"] for name, scores in summary.runs.items()}
    assert accuracies[summary.model] == max(accuracies.values()) > min(accuracies.values())
    best = config.out / summary.model
    (best / "1_Pooling").mkdir()  # as a run of sentence-embedding has it
    (best / "1_Pooling" / "config.json").write_text("{}")
    promote(best, config.out)
    assert (config.out / "1_Pooling" / "config.json").read_text() == "{}"
    for file in best.iterdir():
        if file.is_file() and file.name != "options.json":
            assert (config.out / file.name).read_bytes() == file.read_bytes()
    assert json.loads((config.out / "options.json").read_text())["seeds"] == 3
    found = evaluate_folder(config.out, few["valid"], quiet=True)
    assert found.metric.accuracy == accuracies[summary.model]
    assert not list(config.out.rglob("checkpoints"))
    assert {path.name for path in config.out.rglob(".*")} == {".plainformer"}


class Signal:
    """Lets a run be stopped by Ctrl-C at one of its steps."""

    def __init__(self, monkeypatch, step: int) -> None:
        self.left = step
        loss = Classification.loss

        def counted(task, outputs, batch):
            self.left -= outputs.requires_grad
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)
            return loss(task, outputs, batch)

        monkeypatch.setattr(Classification, "loss", counted)


def test_interrupted_runs_go_on_where_they_were(three, tmp_path, monkeypatch):
    """Stopped in the second of three: the first is not made again, the second goes on."""
    config, summary = three
    broken = replace(config, out=tmp_path / "run")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Signal(patch, 20 + 4)
        finetune(broken, quiet=True)
    assert [path.name for path in (broken.out / "seed-4" / "checkpoints").glob("step-*")] == [
        "step-00000004"
    ]
    assert list(summary_of(broken.out)["runs"]) == ["seed-3"]
    finished = (broken.out / "seed-3" / WEIGHTS).stat().st_mtime_ns
    with pytest.raises(UserError, match="already holds several runs: --resume them"):
        finetune(broken, quiet=True)
    with monkeypatch.context() as patch:
        steps = Signal(patch, -1)
        assert finetune(replace(broken, resume=True), quiet=True) == summary
    assert steps.left == -1 - 16 - 20
    assert (broken.out / "seed-3" / WEIGHTS).stat().st_mtime_ns == finished
    for name in ("seed-4", "seed-5"):
        for file in (WEIGHTS, "log.jsonl"):
            assert (broken.out / name / file).read_bytes() == (
                config.out / name / file
            ).read_bytes()
    assert summary_of(broken.out) == summary_of(config.out)


def test_more_seeds_are_only_more_runs(three, tmp_path):
    config, summary = three
    out = Path(shutil.copytree(config.out, tmp_path / "run"))
    more = finetune(replace(config, seeds=4, resume=True, out=out), quiet=True)
    assert list(more.runs) == [*summary.runs, "seed-6"]
    assert {**more.runs, **summary.runs} == more.runs
    assert json.loads((out / "options.json").read_text())["seeds"] == 4


def test_other_options_are_refused_by_name(three):
    config, _ = three
    other = replace(TRAINING, learning_rate=1e-3)
    for changes, fault in (
        ({"training": other}, r"started with learning_rate=0\.01, not 0\.001: resume"),
        ({"epochs": 3.0}, r"started with epochs=2\.0, not 3\.0: resume"),
    ):
        with pytest.raises(UserError, match=fault):
            finetune(replace(config, resume=True, **changes), quiet=True)


def test_a_score_that_is_not_defined_is_never_the_best():
    found = {"seed-0": {"r": math.nan}, "seed-1": {"r": -0.5}}
    assert max(found, key=lambda name: rankable(found[name]["r"])) == "seed-1"
    summary = Summary("seeds", found, "seed-1")
    assert summary.tables()[0].rows == [("r", "–", "–")]
    written = nan_to_null(summary.to_json())
    assert written["scores"] == {"r": {"mean": None, "sd": None, "values": [None, -0.5]}}


def test_a_single_run_has_no_deviation():
    summary = Summary("seeds", {"seed-0": {"r": 0.25}}, "seed-0")
    assert summary.tables()[0].rows == [("r", "0.250", "0.250 – 0.250")]
    assert summary.to_json()["scores"]["r"]["sd"] is None


@pytest.fixture(scope="module")
def crossed(base) -> tuple[FinetuneConfig, Summary]:
    config = replace(base, folds=3, valid=None, out=base.out.with_name("folds"))
    return config, finetune(config, quiet=True)


def test_a_fold_is_measured_by_what_the_others_teach(base, crossed, tmp_path):
    config, summary = crossed
    examples = list(map(list, rows(60, 0)))
    parts = folds([example(*row) for row in examples], 3, seed=3)
    assert list(summary.runs) == ["fold-1", "fold-2", "fold-3"]
    for name, part in (("learned", False), ("held-out", True)):
        chosen = [row for row, fold in zip(examples, parts, strict=True) if (fold == 1) == part]
        lines = "".join("\t".join(row) + "\n" for row in chosen)
        write_text(tmp_path / f"{name}.tsv", "text\tlabel\n" + lines)
    alone = replace(
        base,
        train=str(tmp_path / "learned.tsv"),
        valid=str(tmp_path / "held-out.tsv"),
        out=tmp_path / "run",
        select=False,
    )
    outcome = finetune(alone, quiet=True)
    assert summary.runs["fold-2"] == outcome.metric.scores()
    assert (alone.out / WEIGHTS).read_bytes() == (config.out / "fold-2" / WEIGHTS).read_bytes()


def test_after_the_folds_all_is_learned_in_the_same_way(base, crossed, tmp_path):
    config, summary = crossed
    alone = replace(base, out=tmp_path / "run", select=False)
    outcome = finetune(alone, quiet=True)
    assert outcome.result.best_step is None and outcome.result.stopped == "finished"
    assert summary.model == "all"
    assert (alone.out / WEIGHTS).read_bytes() == (config.out / WEIGHTS).read_bytes()
    assert Predictor.load(config.out)(["the red hen pecks the red corn ."])[0].label
    assert finetune(replace(config, resume=True), quiet=True) == summary


def example(text: str, label: str | None = "x") -> ClassExample:
    return ClassExample(text=text, label=label, source="f:1")


labels = st.lists(st.sampled_from("abc"), min_size=4, max_size=40)


@given(labels, st.integers(2, 4), st.integers(0, 3))
def test_folds_are_even_in_size_and_labels(given_labels, count, seed):
    examples = [example(f"text {i}", label) for i, label in enumerate(given_labels)]
    found = folds(examples, count, seed)
    assert found == folds(examples, count, seed)
    for counts in (
        Counter(found),
        *(
            Counter(f for f, other in zip(found, given_labels, strict=True) if other == label)
            for label in set(given_labels)
        ),
    ):
        sizes = [counts[fold] for fold in range(count)]
        assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.sampled_from(["a", "A!", "b", "c", "d", "e"]), min_size=1, max_size=20))
def test_a_text_that_occurs_twice_stands_in_one_fold(texts):
    different = {text.strip("!").lower() for text in texts}
    examples = [example(text) for text in texts]
    if len(different) < 3:
        with pytest.raises(UserError, match=f"3 folds need as many .* not {len(different)}"):
            folds(examples, 3, seed=0)
        return
    found = folds(examples, 3, seed=0)
    by_text = {text.strip("!").lower(): fold for text, fold in zip(texts, found, strict=True)}
    assert found == [by_text[text.strip("!").lower()] for text in texts]
    assert set(found) == {0, 1, 2}


def test_the_seed_draws_the_folds():
    examples = [example(f"text {i}") for i in range(30)]
    assert folds(examples, 3, 0) != folds(examples, 3, 1)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"folds": 3, "valid": None, "seeds": 2}, "folds do not go with seeds"),
        ({"folds": 3}, "leave out either folds or valid"),
        ({"folds": 1, "valid": None}, "folds must be 0 or at least 2, not 1"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"valid_share": 1.0}, "valid_share must be"),
    ],
)
def test_options_that_do_not_go_together(base, changes, fault):
    with pytest.raises(UserError, match=fault):
        replace(base, **changes)


def test_folders_that_hold_something_else(base, three, tmp_path):
    config, _ = three
    with pytest.raises(UserError, match="holds several runs: choose another"):
        finetune(replace(base, out=config.out), quiet=True)
    single = config.out / "seed-3"
    with pytest.raises(UserError, match="holds a single run"):
        finetune(replace(config, out=single, resume=True), quiet=True)
    with pytest.raises(UserError, match="is the pretrained model"):
        finetune(replace(config, out=config.model), quiet=True)
    with pytest.raises(UserError, match="no such file"):
        finetune(replace(config, out=tmp_path / "run", train="nowhere.tsv"), quiet=True)
    assert not (tmp_path / "run").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"did not write \(summary\.json\)"):
        finetune(replace(config, out=tmp_path / "other", resume=True), quiet=True)
    (tmp_path / "other" / ".plainformer").write_text('{"made_by": "finetune", "files": []}')
    with pytest.raises(UserError, match=r"summary\.json: runs is missing"):
        finetune(replace(config, out=tmp_path / "other", resume=True), quiet=True)


def options(config: FinetuneConfig, out: Path) -> list[str]:
    files = ["--model", str(config.model), "--train", config.train, "--valid", str(config.valid)]
    return [*files, "--out", str(out), "--epochs", "1", "--max-length", "32"]


def test_the_command_says_which_run_of_how_many(base, tmp_path, capsys):
    command([*options(base, tmp_path / "run"), "--seeds", "2"])
    out, err = capsys.readouterr()
    assert "run 1 of 2: seed-0" in err and "run 2 of 2: seed-1" in err
    assert "mean ± sd" in out and "accuracy" in out and str(tmp_path / "run") in out


def test_steps_follow_from_epochs(base, tmp_path):
    for given_steps in (["--steps", "5"], ["--steps=5"]):
        with pytest.raises(UserError, match="there is no option --steps"):
            command([*options(base, tmp_path / "run"), *given_steps])
