"""Runs on changed copies: what is added, shown, kept out of validation, and resumed."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plainformer.base import UserError, read_json, write_text
from plainformer.finetune import (
    AugmentOptions,
    ClassificationOptions,
    FinetuneConfig,
    Outcome,
    RegressionOptions,
    Summary,
    finetune,
)
from plainformer.finetune.augment import augmented
from plainformer.finetune.run import split_examples
from tests.finetune import test_distributed as distributed

BATCH = 13
PER_LABEL = 10


@pytest.fixture(scope="module")
def synonyms(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "synonyms.txt"
    write_text(path, "eats, devours\nhen, young hen\nthe, this\n")
    return path


@pytest.fixture(scope="module")
def config(models, files, synonyms, tmp_path_factory) -> FinetuneConfig:
    """Twenty examples, and two copies of each by four methods."""
    return distributed.settings(
        models,
        files,
        tmp_path_factory.mktemp("runs") / "run",
        batch_size=BATCH,
        accumulate=1,
        task=ClassificationOptions(per_label=PER_LABEL, balance="sampling"),
        augmentation=AugmentOptions(
            augment=2, augment_synonyms=synonyms, augment_mlm=models["bert"]
        ),
    )


@pytest.fixture(scope="module")
def finished(one_thread, config) -> Outcome:
    training = replace(config.training, checkpoint_every=1, eval_every=4)
    outcome = finetune(replace(config, training=training), quiet=True)
    assert isinstance(outcome, Outcome)
    return outcome


def train_part(config: FinetuneConfig) -> list[Any]:
    return split_examples(config, quiet=True)[0]


def test_the_copies_are_learned_from(config, finished):
    copies = augmented(train_part(config), config, quiet=True)
    assert len(copies) == 4 * PER_LABEL
    most = PER_LABEL + max(
        sum(copy.label == label for copy in copies) for label in ("bird", "beast")
    )
    assert finished.result is not None
    assert finished.result.steps == math.ceil(2 * most / BATCH)
    assert read_json(config.out / "metrics.json")["valid"]["examples"] == 50


def test_copies_are_a_function_of_seed_and_place(config):
    examples = train_part(config)
    copies = augmented(examples, config, quiet=True)
    assert augmented(examples, config, quiet=True) == copies
    assert augmented(examples[:5], config, quiet=True) == copies[:10]
    other = replace(config, training=replace(config.training, seed=1))
    assert augmented(examples, other, quiet=True) != copies
    both = zip([e for e in examples for _ in range(2)], copies, strict=True)
    assert all((e.label, e.source) == (c.label, c.source) and e != c for e, c in both)


def test_some_copies_are_shown_and_what_is_left_out_is_counted(config, tmp_path, capsys):
    write_text(tmp_path / "list.txt", "hen, chicken\nowl, bird of night\n")
    options = AugmentOptions(
        augment=1, augment_delete=0, augment_swap=0, augment_synonyms=tmp_path / "list.txt"
    )
    examples = train_part(config)
    copies = augmented(examples, replace(config, augmentation=options), quiet=False)
    have = [example for example in examples if {"hen", "owl"} & set(example.text.split())]
    assert [copy.source for copy in copies] == [example.source for example in have]
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:3] == [f"  synonyms {have[0].text}", f"         → {copies[0].text}"]
    assert lines[5:] == [
        f"training on 20 examples and {len(have)} changed copies; {20 - len(have)} left out, which "
        "no word could be changed of"
    ]
    write_text(tmp_path / "list.txt", "whale, fish of the sea\n")
    assert augmented(examples, replace(config, augmentation=options), quiet=False) == []
    assert "warning: synonyms: no example has a word to change" in capsys.readouterr().err


def test_a_resumed_run_makes_the_same_copies(config, finished, synonyms, tmp_path):
    training = replace(config.training, checkpoint_every=1, eval_every=4)
    again = replace(config, out=tmp_path / "run", resume=True, training=training)
    shutil.copytree(config.out, again.out)
    for path in sorted((again.out / "checkpoints").glob("step-*"))[2:]:
        shutil.rmtree(path)
    (again.out / "model.safetensors").unlink()
    list_before = synonyms.read_text()
    write_text(synonyms, list_before.replace("this", "that"))
    with pytest.raises(UserError, match=r"the changed copies .* restore the list of synonyms"):
        finetune(again, quiet=True)
    write_text(synonyms, list_before)
    finetune(again, quiet=True)
    for file in ("model.safetensors", "log.jsonl", "metrics.json"):
        assert (again.out / file).read_bytes() == (config.out / file).read_bytes(), file


def test_a_fold_is_scored_without_copies(config, tmp_path):
    options = AugmentOptions(augment=3)
    given = replace(
        config,
        out=tmp_path / "folds",
        valid=None,
        folds=2,
        augmentation=options,
        task=ClassificationOptions(per_label=PER_LABEL),
    )
    assert isinstance(finetune(given, quiet=True), Summary)
    held_out = []
    for name in ("fold-1", "fold-2"):
        held_out.append(read_json(given.out / name / "metrics.json")["valid"]["examples"])
        steps = [row["step"] for row in distributed.log(given.out / name) if "step" in row]
        assert max(steps) == math.ceil(4 * (2 * PER_LABEL - held_out[-1]) / BATCH)
    assert sum(held_out) == 2 * PER_LABEL


def test_a_fine_tuned_model_checks_the_copies(config, finished, capsys, tmp_path):
    options = replace(config.augmentation, augment_check=config.out)
    examples = train_part(config)
    every = augmented(examples, config, quiet=True)
    kept = augmented(examples, replace(config, augmentation=options), quiet=False)
    assert 0 < len(kept) < len(every) and all(copy in every for copy in kept)
    dropped = len(every) - len(kept)
    assert f"{len(kept)} changed copies; {dropped} dropped by the check" in capsys.readouterr().err
    other = replace(config, task=RegressionOptions(), out=tmp_path / "run")
    with pytest.raises(UserError, match="augment_check compares labels, and regression has none"):
        replace(other, augmentation=options)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"augment": -1}, "augment must be at least 0"),
    ({"augment": 1, "augment_delete": 1.0}, "augment_delete must be from 0 to below 1"),
    ({"augment": 1, "augment_swap": 0.6}, "augment_swap must be from 0 to 0.5"),
    ({"augment": 1, "augment_replace": 0.0}, "augment_replace must be above 0 and at most 1"),
    ({"augment": 1, "augment_delete": 0.0, "augment_swap": 0.0}, "augment needs a method"),
    ({"augment_mlm": Path("m")}, "augment_mlm is for copies: give their number, such as augment 4"),
    ({"augment_swap": 0.2}, "augment_swap is for copies"),
]


@pytest.mark.parametrize(("options", "fault"), REFUSED, ids=lambda value: str(value)[:30])
def test_senseless_options_are_refused(options, fault):
    with pytest.raises(UserError, match=fault):
        AugmentOptions(**options)


def test_nothing_is_written_where_a_file_is_bad(config, tmp_path):
    write_text(tmp_path / "list.txt", "hen, chicken\nalone\n")
    options = AugmentOptions(augment=1, augment_synonyms=tmp_path / "list.txt")
    with pytest.raises(UserError, match=r"list\.txt:2: 'alone' is alone"):
        finetune(replace(config, out=tmp_path / "run", augmentation=options), quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="epochs must be above 0"):
        replace(config, epochs=0.0)


@pytest.mark.slow
def test_two_processes_learn_from_the_same_copies(config, finished, tmp_path):
    options = replace(config.augmentation, augment_check=config.out)
    one, two = (
        replace(config, out=tmp_path / name, accumulate=2, augmentation=options)
        for name in ("one", "two")
    )
    finetune(one, quiet=True)
    distributed.run_on(2, [two], tmp_path)
    assert (one.out / "data.json").read_bytes() == (two.out / "data.json").read_bytes()
    for a, b in zip(distributed.log(one.out), distributed.log(two.out), strict=True):
        assert a.get("loss", 0.0) == pytest.approx(b.get("loss", 0.0), rel=1e-4)
