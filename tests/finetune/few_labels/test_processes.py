"""Learning from few labels on two processes is that on one."""

import json
from dataclasses import replace

import pytest

from plainformer.finetune import (
    ClassificationOptions,
    FinetuneConfig,
    PromptOptions,
    UnlabelledOptions,
    finetune,
)
from tests.finetune import test_distributed as distributed
from tests.finetune.few_labels.conftest import TRAINING

UNLABELLED = {"rounds": 1, "confidence": 0.5, "unlabelled_per_label": 8}
PROMPTS = PromptOptions(verbaliser="the=wild,.=tame", templates=("{text} [MASK]", "[MASK] {text}"))


@pytest.mark.slow
def test_two_processes_choose_and_learn_what_one_does(models, few, tmp_path) -> None:
    base = FinetuneConfig(
        model=models["bert"],
        train=few["train"],
        valid=few["valid"],
        out=tmp_path,
        epochs=2.0,
        batch_size=8,
        accumulate=2,
        max_length=32,
        training=TRAINING,
    )
    runs = {
        "rounds": {"unlabelled": UnlabelledOptions(few["texts"], **UNLABELLED)},
        "folds": {
            "unlabelled": UnlabelledOptions(few["texts"], **UNLABELLED),
            "folds": 2,
            "valid": None,
        },
        "pet": {"unlabelled": UnlabelledOptions(few["texts"]), "task": PROMPTS},
        "pairs": {"task": ClassificationOptions(contrastive=2)},
    }
    for name, changes in runs.items():
        finetune(replace(base, out=tmp_path / f"{name}-one", **changes), quiet=True)
    two = [replace(base, out=tmp_path / f"{name}-two", **changes) for name, changes in runs.items()]
    distributed.run_on(2, two, tmp_path)
    for name in ("rounds", "pet", "pairs"):
        distributed.assert_alike(tmp_path / f"{name}-one", tmp_path / f"{name}-two")
    for saved in ("rounds-{}/pseudo-labels-1.json", "folds-{}/all/pseudo-labels-1.json"):
        ours, theirs = (
            {(entry["text"], entry["label"]) for entry in json.loads(path.read_text())}
            for path in (tmp_path / saved.format(count) for count in ("one", "two"))
        )
        assert len(ours) >= 8 and ours == theirs
    summary = json.loads((tmp_path / "folds-two" / "summary.json").read_text())
    assert list(summary["runs"]) == ["fold-1", "fold-2", "all"]
