"""Fairness in training from end to end: a planted shortcut, resumed runs, and what is refused."""

import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from plainformer.base import UserError, read_json
from plainformer.finetune import (
    AugmentOptions,
    ClassificationOptions,
    FairOptions,
    FinetuneConfig,
    Outcome,
    Predictor,
    RobustOptions,
    Summary,
    TuningOptions,
    UnlabelledOptions,
    finetune,
)
from plainformer.finetune.tasks.regression import RegressionOptions
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbeddingOptions
from plainformer.training import LoopConfig
from tests.finetune import test_distributed as distributed
from tests.pretrain import tiny

METHODS: dict[str, dict[str, Any]] = {
    "reweight": {"group_reweight": True},
    "dro": {"group_dro": 0.05},
    "adversarial": {"group_adversarial": 0.5},
    "both": {"group_dro": 0.05, "group_adversarial": 0.5},
}
BIRDS = ("hen", "owl", "bee", "ant")
Write = Callable[[str, list[dict[str, Any]]], str]


def rows(count: int, agree: float, seed: int, noise: float = 0.0) -> list[dict[str, Any]]:
    """Sentences of a class of animals; the colour is that of the source, which may betray it."""
    rng, found = random.Random(seed), []
    for text in tiny.sentences(count, seed):
        words = text.split()
        label = "bird" if (words[2] in BIRDS) != (rng.random() < noise) else "beast"
        source = "red" if (label == "bird") == (rng.random() < agree) else "blue"
        words[1] = words[5] = source
        row = {"text": " ".join(words), "label": label, "source": source, "score": rng.random()}
        found.append(row)
    return found


@pytest.fixture(scope="module")
def write(tmp_path_factory) -> Write:
    """Write rows to a file, and return its path."""
    folder = tmp_path_factory.mktemp("groups")

    def write(name: str, rows: list[dict[str, Any]]) -> str:
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def settings(models, write: Write, out: Path, **changes: Any) -> FinetuneConfig:
    """Eight steps of 13 examples in micro-batches, with a checkpoint after four."""
    training = LoopConfig(
        learning_rate=1e-2, eval_every=4, checkpoint_every=4, keep=9, device="cpu"
    )
    return FinetuneConfig(
        **{
            "model": models["bert"],
            "train": write("train", rows(52, 0.8, 1)),
            "valid": write("valid", rows(30, 0.5, 2)),
            "out": out,
            "epochs": 2.0,
            "batch_size": 13,
            "accumulate": 2,
            "max_length": 32,
            "training": training,
            "fair": FairOptions(group="source"),
            **changes,
        }
    )


def names(file: Path) -> set[str]:
    with safe_open(file, "pt") as tensors:
        return set(tensors.keys())


@pytest.mark.parametrize("name", ["reweight", "both"])
def test_a_resumed_run_is_one_that_was_never_stopped(models, write, tmp_path, name):
    fair = FairOptions(group="source", **METHODS[name])
    tuning = TuningOptions(lora=2 if name == "both" else 0)
    config = settings(models, write, tmp_path / "run", fair=fair, tuning=tuning)
    outcome = finetune(config, quiet=True)
    half = distributed.begun(tmp_path / "run", tmp_path / "half", 4)
    finetune(replace(config, out=half, resume=True), quiet=True)
    (file,) = (run for run in distributed.WEIGHTS if (half / run).exists())
    for path in (file, "log.jsonl", "metrics.json"):
        assert (half / path).read_bytes() == (tmp_path / "run" / path).read_bytes(), path
    extra = names(half / "checkpoints" / "step-00000008" / "model.safetensors")
    assert ("group_weights.weights" in extra) == ("group_dro" in METHODS[name])
    assert ("adversary.out.weight" in extra) == ("group_adversarial" in METHODS[name])
    assert not any(n.startswith(("group_weights", "adversary")) for n in names(half / file))
    assert isinstance(outcome, Outcome)
    (table,) = outcome.tables
    assert [row[0] for row in table.rows] == ["blue", "red"]
    assert Predictor.load(half)(["the red hen pecks the red corn ."])[0].label in ("bird", "beast")


def test_the_scores_of_groups_are_those_of_their_examples(models, write, tmp_path):
    finetune(settings(models, write, tmp_path / "run"), quiet=True)
    saved = read_json(tmp_path / "run" / "metrics.json")
    valid = rows(30, 0.5, 2)
    said = Predictor.load(tmp_path / "run")([row["text"] for row in valid])
    right: dict[str, list[bool]] = defaultdict(list)
    for row, answer in zip(valid, said, strict=True):
        right[row["source"]].append(answer.label == row["label"])
    assert saved["groups"].keys() == right.keys()
    for group, found in right.items():
        assert saved["groups"][group]["examples"] == len(found)
        assert saved["groups"][group]["accuracy"] == pytest.approx(sum(found) / len(found))


def test_validation_examples_need_no_group(models, write, tmp_path):
    valid = write("no-group", [{k: row[k] for k in ("text", "label")} for row in rows(9, 0.5, 3)])
    config = settings(models, write, tmp_path / "run", valid=valid, epochs=0.5)
    outcome = finetune(config, quiet=True)
    assert isinstance(outcome, Outcome) and outcome.tables == ()
    assert "groups" not in read_json(tmp_path / "run" / "metrics.json")


@pytest.mark.parametrize("number", [0, 3])
def test_a_validation_example_without_a_group_is_named_before_training(
    models, write, tmp_path, number
):
    some = rows(9, 0.5, 3)
    del some[number]["source"]
    config = settings(models, write, tmp_path / "run", valid=write("some", some))
    with pytest.raises(UserError, match=rf"some\.jsonl:{number + 1}: no column 'source'"):
        finetune(config, quiet=True)
    assert not (tmp_path / "run" / "options.json").exists()


def test_folds_copies_balance_and_other_tasks(models, write, tmp_path):
    dro = FairOptions(group="source", group_dro=0.1, group_adversarial=0.1)
    short = {"epochs": 0.5, "fair": dro}
    task = ClassificationOptions(balance="sampling")
    several = {"valid": None, "task": task, "folds": 2, "augmentation": AugmentOptions(augment=1)}
    found = finetune(settings(models, write, tmp_path / "folds", **short, **several), quiet=True)
    assert isinstance(found, Summary) and len(found.runs) == 2
    saved = read_json(tmp_path / "folds" / "fold-1" / "metrics.json")
    counts = [one["examples"] for one in saved["groups"].values()]
    assert len(counts) == 2 and sum(counts) == saved["valid"]["examples"] > 20
    one = settings(
        models, write, tmp_path / "scores", **short, task=RegressionOptions(),
        robust=RobustOptions(rdrop=1.0, ema=0.5),
    )  # fmt: skip
    finetune(one, quiet=True)
    assert "mae" in str(read_json(tmp_path / "scores" / "metrics.json")["groups"]["red"])


def test_changed_groups_are_not_resumed(models, write, tmp_path):
    config = settings(models, write, tmp_path / "run", epochs=0.5)
    finetune(config, quiet=True)
    (tmp_path / "run" / "metrics.json").unlink()
    other = [{**row, "source": "blue" if n else "red"} for n, row in enumerate(rows(52, 0.8, 1))]
    Path(config.train).write_text("".join(json.dumps(row) + "\n" for row in other))
    with pytest.raises(UserError, match="examples have changed"):
        finetune(replace(config, resume=True), quiet=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sauce": "x", "source": None}, r"jsonl:2: no group in column 'source'"),
        ({"source": ""}, r"jsonl:2: no group in column 'source': write one"),
        ({"source": ["red"]}, r"jsonl:2: column 'source' is not one value"),
    ],
)
def test_an_example_without_a_group_is_named(models, write, tmp_path, change, said):
    some = rows(20, 0.5, 1)
    some[1] |= change
    config = settings(models, write, tmp_path / "run", train=write("faulty", some))
    with pytest.raises(UserError, match=said):
        finetune(config, quiet=True)
    assert not (tmp_path / "run" / "options.json").exists()


def test_a_column_that_names_no_groups_is_refused(models, write, tmp_path):
    config = settings(models, write, tmp_path / "run")
    for column, said in {
        "sauce": r"no column 'sauce'; columns: text, label, source, score",
        "score": r"column 'score' has 52 different values: name one that parts the examples",
        "same": r"column 'same' has only 'x'",
    }.items():
        many = [{**row, "same": "x"} if column == "same" else row for row in rows(52, 0.5, 1)]
        many += rows(60, 0.5, 7) if column == "score" else []
        said = said.replace("52", "112")
        one = replace(config, fair=FairOptions(group=column), train=write(column, many))
        with pytest.raises(UserError, match=said):
            finetune(one, quiet=True)


@pytest.mark.parametrize(
    ("fair", "changes", "said"),
    [
        ({"group": None, "group_dro": 0.1}, {}, "group_dro needs groups"),
        ({"group_dro": -0.1}, {}, "group_dro must be"),
        ({"group_dro": 0.1, "group_reweight": True}, {}, "choose one"),
        ({"group_dro": 0.1}, {"robust": RobustOptions(mixup=0.2)}, "mixup mixes texts"),
        ({"group_dro": 0.1}, {"epochs": 0.0}, "epochs must be above 0"),
        ({"group_adversarial": 1.0}, {"task": ClassificationOptions(contrastive=2)}, "contrastive"),
        ({}, {"unlabelled": UnlabelledOptions(unlabelled="f.txt")}, "have no group"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, fair, changes, said):
    base = FinetuneConfig(model=tmp_path, train="f.jsonl", out=tmp_path / "run")
    with pytest.raises(UserError, match=said):
        replace(base, fair=FairOptions(**{"group": "source", **fair}), **changes)


def test_pairs_without_scores_are_not_weighed(models, write, tmp_path):
    pairs = [
        {"text": r["text"], "pair": r["label"], "source": r["source"]} for r in rows(9, 0.5, 1)
    ]
    config = settings(
        models, write, tmp_path / "run", train=write("pairs", pairs), valid=write("p", pairs),
        task=SentenceEmbeddingOptions(), epochs=0.5, batch_size=4,
    )  # fmt: skip
    fair = FairOptions(group="source", group_reweight=True)
    with pytest.raises(UserError, match="without scores the loss of a pair depends on the others"):
        finetune(replace(config, fair=fair), quiet=True)
    other = FairOptions(group="source", group_adversarial=1.0)
    finetune(replace(config, fair=other, out=tmp_path / "other"), quiet=True)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(models, write, tmp_path):
    runs = []
    for name, method in METHODS.items():
        fair = FairOptions(group="source", **method)
        config = settings(models, write, tmp_path / "one" / name, fair=fair)
        finetune(config, quiet=True)
        runs.append(replace(config, out=tmp_path / "two" / name))
    distributed.run_on(2, runs, tmp_path)
    for run in runs:
        one = tmp_path / "one" / run.out.name
        distributed.assert_alike(one, run.out)
        states = [
            load_file(r / "checkpoints/step-00000008/model.safetensors") for r in (one, run.out)
        ]
        for key in states[0].keys() & {"group_weights.weights", "adversary.out.weight"}:
            torch.testing.assert_close(states[1][key], states[0][key], rtol=1e-3, atol=1e-4)


def worst_cell(run: Path, tested: list[dict[str, Any]]) -> float:
    """The accuracy of the worst pair of source and label."""
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    said = Predictor.load(run)([row["text"] for row in tested])
    for row, answer in zip(tested, said, strict=True):
        right[row["source"], row["label"]].append(answer.label == row["label"])
    return min(sum(found) / len(found) for found in right.values())


@pytest.mark.slow
def test_a_planted_shortcut_is_left_by_each_method(models, write, tmp_path):
    """The source agrees with 19 labels in 20, the animal with 18; in the test with 10, and all."""
    train, tested = write("shortcut", rows(400, 0.95, 1, noise=0.1)), rows(200, 0.5, 2)
    found: dict[str, list[float]] = {}
    methods = {"plain": {}, **METHODS, "adversarial": {"group_adversarial": 1.0}}
    for name, method in methods.items():
        for seed in (0, 1):
            fair, out = FairOptions(group="source", **method), tmp_path / f"{name}-{seed}"
            loop = LoopConfig(learning_rate=2e-3, seed=seed, checkpoint_every=0, device="cpu")
            config = settings(
                models, write, out, train=train, epochs=6.0, batch_size=32, accumulate=1,
                dropout=0.0, select=False, fair=fair, training=loop,
            )  # fmt: skip
            finetune(config, quiet=True)
            found.setdefault(name, []).append(worst_cell(config.out, tested))
    plain = sum(found.pop("plain")) / 2
    assert plain < 0.5
    for name, worst in found.items():
        assert sum(worst) / 2 > plain + 0.1, (name, worst)
