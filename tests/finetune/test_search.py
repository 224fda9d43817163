"""Search: the space as it is written, the trials as a study, and the best of them as a run."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from plainformer.base import UserError, read_json, write_json
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    RobustOptions,
    TaggingOptions,
    evaluate_folder,
)
from plainformer.finetune.data.fingerprint import fingerprints
from plainformer.finetune.search import SearchConfig, run_search
from plainformer.finetune.search.report import found_in
from plainformer.finetune.search.space import Choices, Range, default_space, read_space, with_values
from plainformer.finetune.search.study import SharedStudy, distribution, hold, storage_of
from plainformer.finetune.search.trials import reporting
from plainformer.training import LoopConfig
from tests.processes import run_in_process

ROOT = Path(__file__).parents[2]
TRAINING = LoopConfig(learning_rate=1e-3, eval_every=0, checkpoint_every=0)
SPACE = ("learning_rate=1e-3..1e-2", "batch_size=16,32")


@pytest.fixture(scope="module")
def few(files, tmp_path_factory) -> str:
    """A training file of 48 sentences."""
    lines = Path(files("train")).read_text().splitlines()[:49]
    path = tmp_path_factory.mktemp("few") / "few.tsv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def settings(models, few, files, out: Path, **changes) -> SearchConfig:
    return SearchConfig(
        **{
            "model": models["bert"],
            "train": few,
            "valid": files("valid"),
            "out": out,
            "epochs": 1.0,
            "max_length": 16,
            "training": TRAINING,
            "space": SPACE,
            "trials": 2,
            **changes,
        }
    )


def given(**changes) -> FinetuneConfig:
    return FinetuneConfig(**{"model": Path("m"), "train": "t", "out": Path("o"), **changes})


# The space


def test_ranges_and_choices_are_read():
    words = ["learning-rate=2e-5..1e-4", "epochs=2..6", "dropout=0..0.2", "l2_sp=1e-3..0.1"]
    words += ["lora=4,8,16", "bitfit=yes,no", "schedule=linear,cosine", "label_smoothing=0,.1"]
    space = {name: d.values for name, d in read_space(words, given()).items()}
    assert space == {
        "learning_rate": Range(2e-5, 1e-4, is_whole=False, is_log=True),
        "epochs": Range(2, 6, is_whole=True, is_log=False),
        "dropout": Range(0, 0.2, is_whole=False, is_log=False),
        "l2_sp": Range(1e-3, 0.1, is_whole=False, is_log=True),
        "lora": Choices((4, 8, 16)),
        "bitfit": Choices((True, False)),
        "schedule": Choices(("linear", "cosine")),
        "label_smoothing": Choices((0.0, 0.1)),
    }


def test_values_go_to_the_options_of_task_methods_and_loop():
    space = read_space(
        ["lora=4,8", "dora=yes,no", "crf=yes,no", "learning_rate=1e-4..1e-2", "epochs=2..6"],
        config := given(task=TaggingOptions()),
    )
    values = {"lora": 8, "dora": True, "crf": True, "learning_rate": 0.002, "epochs": 4}
    found = with_values(config, space, values)
    assert (found.tuning.lora, found.tuning.dora, found.task.crf) == (8, True, True)
    assert (found.training.learning_rate, found.epochs) == (0.002, 4.0)
    assert type(found.epochs) is float
    kept = replace(found, tuning=config.tuning, task=config.task, training=config.training)
    assert replace(kept, epochs=config.epochs) == config


def test_the_default_space_surrounds_what_is_given():
    config = given(training=replace(TRAINING, learning_rate=2e-3), batch_size=8, epochs=4)
    ends = {n: d.values.ends for n, d in read_space(default_space(config), config).items()}
    assert ends == {
        "learning_rate": (2e-4, 2e-2),
        "epochs": (2, 8),
        "batch_size": (4, 8, 16),
        "dropout": (0, 0.2),
    }
    dropout = read_space(default_space(replace(config, robust=RobustOptions(rdrop=1.0))), config)
    assert dropout["dropout"].values.ends == (0.05, 0.2), "R-Drop needs some"


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("learning_rat=1e-5..1e-3", "no option 'learning_rat' .*; did you mean learning-rate?"),
        ("crf=yes,no", "no option 'crf' of numbers or choices in classification"),
        ("out=a,b", "no option 'out'"),
        ("lr=1e-5..1e-3", "did you mean learning-rate?"),
        ("epochs=0..3", "a search needs epochs"),
        ("seed=1,2", "seed is not searched: its best value would be luck"),
        ("dropout", "write NAME=LOW..HIGH or NAME=A,B,C"),
        ("dropout=0..2", "dropout must be from 0 to below 1, not 2.0"),
        ("dropout=0.2..0.1", "the low end of a range must be below its high end"),
        ("dropout=0..x", "write a range as LOW..HIGH"),
        ("batch_size=1.5..8", "batch_size is a whole number"),
        ("batch_size=16,many", "'many' is not a number"),
        ("schedule=linear,cosin", "'cosin' is not one of .*did you mean cosine?"),
        ("schedule=linear..cosine", "schedule has no range: list its choices"),
        ("dora=yes,no", "dora adds to lora"),
    ],
)
def test_what_cannot_be_searched_is_refused(models, few, files, tmp_path, word, fault):
    with pytest.raises(UserError, match=fault):
        settings(models, few, files, tmp_path / "run", space=(word,))


def test_options_that_a_search_does_not_have_are_refused(models, few, files, tmp_path):
    for changes in ({"seeds": 2}, {"folds": 2, "valid": None}, {"resume": True}, {"epochs": 0.0}):
        with pytest.raises(UserError, match="a search"):
            settings(models, few, files, tmp_path / "run", **changes)


# The trials


@pytest.fixture(scope="module")
def searched(one_thread, models, few, files, tmp_path_factory):
    config = settings(models, few, files, tmp_path_factory.mktemp("search") / "run")
    return config, run_search(config, quiet=True)


def test_the_best_trial_is_an_ordinary_run(searched, files):
    config, found = searched
    best = config.out / "best"
    assert found.best.score == max(trial.score for trial in found.trials)
    assert evaluate_folder(best, files("valid")).metric.accuracy == found.best.score
    assert Predictor.load(best)(["the owl hunts the red mice ."])[0].label in ("bird", "beast")
    options = read_json(best / "options.json")
    assert options["out"] == str(best) and options["batch_size"] == found.best.values["batch_size"]
    assert options["training"]["learning_rate"] == found.best.values["learning_rate"]


def test_the_first_trial_has_the_given_values(searched):
    first = next(trial for trial in searched[1].trials if trial.number == 0)
    assert first.values == {"learning_rate": 1e-3, "batch_size": 32}


def test_weights_are_kept_of_the_best_alone(searched):
    out = searched[0].out
    assert [p.parent for p in out.rglob("*.safetensors")] == [out / "best"]
    assert sorted(p.name for p in (out / "trials").iterdir()) == ["0000", "0001"]
    assert (out / "search.png").read_bytes().startswith(b"\x89PNG")
    summary = read_json(out / "summary.json")
    assert [t["number"] for t in summary["trials"]] == [t.number for t in searched[1].trials]


def outcomes(found) -> list[tuple]:
    return [(trial.score, trial.values) for trial in found.trials]


def test_a_search_goes_on_as_if_it_had_not_stopped(searched, tmp_path):
    """With a trial that its process left before the first step."""
    config, found = searched
    config = replace(config, out=tmp_path / "run")
    run_search(replace(config, trials=1), quiet=True)
    claim = SharedStudy(config, fingerprints(config)).claim()
    os.close(claim.lock)  # as the system does when a process ends
    again = run_search(config, quiet=True)
    assert outcomes(again) == outcomes(found)
    assert sorted(trial.number for trial in again.trials) == [0, 2]
    assert sorted(p.name for p in (config.out / "trials").iterdir()) == ["0000", "0002"]


@pytest.mark.slow
def test_a_trial_that_was_killed_goes_on_from_its_checkpoint(searched, tmp_path):
    """Killed within the second trial, after its first step."""
    config, found = searched
    config = replace(config, out=tmp_path / "run", training=replace(TRAINING, checkpoint_every=1))
    write_json(tmp_path / "options.json", asdict(config))
    options = str(tmp_path / "options.json")
    code, output = run_in_process("tests.programs.killed_search", [options])
    assert code == -signal.SIGKILL, output
    (left,) = (config.out / "trials").glob("*.lock")
    assert (left.with_suffix("") / "checkpoints" / "step-00000001").is_dir()
    assert outcomes(run_search(config, quiet=True)) == outcomes(found)


def test_a_search_does_not_go_on_with_other_options(searched):
    config, _ = searched
    with pytest.raises(UserError, match="started with space="):
        run_search(replace(config, space=("dropout=0..0.1",)), quiet=True)


def test_a_trial_that_always_dies_is_given_up(models, few, files, tmp_path):
    config = settings(models, few, files, tmp_path / "run", trials=1)
    begun = []
    while len(begun) < 10:
        claim = SharedStudy(config, {}).claim()
        if claim is None:
            break
        begun.append(claim)
        os.close(claim.lock)  # as the system does for a process that ends
    assert [claim.is_continued for claim in begun] == [False, True, True, True]


def test_a_trial_that_is_being_made_is_left_alone(models, few, files, tmp_path):
    config = settings(models, few, files, tmp_path / "run", trials=2)
    one, other = SharedStudy(config, {}), SharedStudy(config, {})
    first, second = one.claim(), other.claim()
    assert (first.trial.number, second.trial.number) == (0, 1)
    assert one.claim() is None and hold(second.folder.with_suffix(".lock")) is None


def test_a_trial_below_the_median_stops_early(models, few, files, tmp_path):
    """Not in the first five trials, nor in the first third of its steps, nor at the end."""
    study = SharedStudy(settings(models, few, files, tmp_path / "run", trials=9), {})
    for score in (0.1, 0.5, 0.6, 0.7, 0.9):
        claim = study.claim()
        for share in (0.25, 0.5, 1):
            reporting(claim.trial)(share, score)
        study.end(claim, score, TrialState.COMPLETE)
    for share, score, stops in ((0.25, 0.1, False), (0.5, 0.59, True), (0.5, 0.61, False),
                                (1, 0.1, False)):  # fmt: skip
        watch = reporting(study.claim().trial)
        with pytest.raises(optuna.TrialPruned) if stops else nullcontext():
            watch(share, score)


def test_a_combination_that_does_not_go_together_is_recorded(models, few, files, tmp_path):
    """With this seed that of the second trial."""
    space = ("lora=0,4", "bitfit=no,yes")
    training = replace(TRAINING, seed=9)
    config = settings(models, few, files, tmp_path / "run", space=space, training=training)
    first, second = run_search(replace(config, trials=2), quiet=True).trials
    assert (first.state, second.state, second.values) == (
        "done",
        "failed",
        {"lora": 4, "bitfit": True},
    )
    assert "choose one" in second.error and np.isnan(second.score)


@pytest.mark.slow
def test_runs_that_learn_nothing_stop_early(models, files, tmp_path):
    changes = {
        "trials": 10,
        "epochs": 6.0,
        "batch_size": 16,
        "space": ("learning_rate=1e-12,5e-3,1e-2,2e-2",),
    }
    config = settings(models, files("train"), files, tmp_path / "run", **changes)
    found = run_search(config, quiet=True)
    idle = [t for t in found.trials if t.number >= 5 and t.values["learning_rate"] == 1e-12]
    assert idle and {trial.state for trial in idle} == {"pruned"}
    assert found.best.score > 0.95
    folder = config.out / "trials" / f"{idle[0].number:04d}"
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] < 114 and idle[0].score == log[-1]["evaluation"]["accuracy"]
    assert not (folder / "checkpoints").exists()


def test_importance_is_that_of_a_known_function(tmp_path):
    """A score that depends on one option alone."""
    space = read_space(["learning_rate=1e-4..1e-2", "dropout=0..0.5"], given())
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    for _ in range(20):
        trial = study.ask({name: distribution(d) for name, d in space.items()})
        study.tell(trial, -abs(np.log10(trial.params["learning_rate"]) + 3))
    found = found_in(study)
    assert found.importance["learning_rate"] > 0.8
    assert sum(found.importance.values()) == pytest.approx(1)
    assert found.best.values["learning_rate"] == pytest.approx(1e-3, rel=0.3)


# The storage


def test_a_storage_that_cannot_be_opened_is_refused(models, few, files, tmp_path):
    for storage, fault in (
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("nosuch://x", "plugin"),
        (str(tmp_path / "no" / "folder"), "No such file"),
    ):
        config = settings(models, few, files, tmp_path / "run", storage=storage)
        with pytest.raises(UserError, match=f"storage of the study cannot be opened: .*{fault}"):
            run_search(config, quiet=True)
        assert not (tmp_path / "run").exists()


def test_another_storage_than_that_of_the_search_is_refused(searched, tmp_path):
    config = replace(searched[0], storage=str(tmp_path / "other.journal"))
    with pytest.raises(UserError, match="give the --storage with which"):
        run_search(config, quiet=True)


def test_without_optuna_it_says_what_to_install(models, few, files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="pip install optuna"):
        run_search(settings(models, few, files, tmp_path / "run"), quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_two_processes_share_a_study(models, few, files, tmp_path, storage):
    place = f"sqlite:///{tmp_path / 'study.db'}" if storage == "sqlite" else None
    config = settings(models, few, files, tmp_path / "run", storage=place, trials=8)
    write_json(tmp_path / "options.json", asdict(config))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from plainformer.finetune.search import SearchConfig, run_search\n"
        "from plainformer.options import load\n"
        "run_search(load(SearchConfig, Path(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "options.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=600)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert all("trial " in text for text in said)
    with storage_of(config) as opened:
        study = optuna.load_study(
            study_name=read_json(config.out / "study.json")["study"], storage=opened
        )
    assert len(study.trials) == 8
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 8
    found = found_in(study)
    assert found.best.score == evaluate_folder(config.out / "best", files("valid")).metric.accuracy
