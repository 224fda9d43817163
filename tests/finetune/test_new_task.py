"""A new task is one class and one line: the example of CONTRIBUTING.md."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.finetune import FinetuneConfig, Predictor, evaluate_folder, finetune
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.task_options import TaskOptions, TextOptions
from plainformer.finetune.tasks import TASKS
from plainformer.finetune.tasks.regression import Regression, ScoreExample, ScorePrediction
from plainformer.training import LoopConfig, Loss
from tests.pretrain import tiny


@dataclass(frozen=True, kw_only=True)
class Counting(Regression):
    """Predict a count: Poisson regression, whose output is the logarithm of the rate."""

    Options: ClassVar[type[TaskOptions]] = TextOptions

    def loss(self, outputs: Float[Tensor, "items 1"], batch: Batch[Item]) -> Loss:
        logs, counts = outputs.squeeze(-1), batch.first(batch.targets)
        return Loss((logs.exp() - counts * logs).sum(), len(counts))

    def predict(
        self, outputs: Float[Tensor, "items 1"], batch: Batch[Item]
    ) -> list[ScorePrediction]:
        return [ScorePrediction(rate) for rate in outputs.exp().squeeze(-1).tolist()]


def test_a_new_task_is_learned_saved_and_evaluated(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How often does "the" occur?"""
    monkeypatch.setitem(TASKS, "counting", Counting)
    rows = [{"text": "the " * (n % 5) + "cat", "score": n % 5} for n in range(60)]
    file = tmp_path / "counts.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings: dict[str, Any] = {"learning_rate": 3e-3, "eval_every": 0, "checkpoint_every": 0}
    config = FinetuneConfig(
        model=models["bert"],
        train=str(file),
        valid=str(file),
        out=tmp_path / "run",
        task=TextOptions(name="counting"),
        epochs=30,
        batch_size=16,
        select=False,
        training=LoopConfig(**settings),
    )
    finetune(config, quiet=True)
    assert isinstance(Predictor.load(config.out).task, Counting)
    scores = evaluate_folder(config.out, str(file), quiet=True).metric.scores()
    assert scores["spearman"] > 0.9
    few, many = (answer.score for answer in Predictor.load(config.out)(["cat", "the the the cat"]))
    assert 0 < few < 1 < 2 < many


def test_its_loss_is_that_of_torch() -> None:
    task, tokenizer = Counting(max_length=8), tiny.make_tokenizer()
    examples = [
        ScoreExample(text="the " * n + "cat", score=float(n), source="f:1") for n in (3, 0, 2)
    ]
    batch = Batch.of([task.encode(example, tokenizer) for example in examples])
    outputs = torch.randn(3, 1)
    loss = task.loss(outputs, batch)
    counts = torch.tensor([3.0, 0.0, 2.0])
    theirs = torch.nn.functional.poisson_nll_loss(outputs[:, 0], counts, reduction="sum")
    assert loss.items == 3 and loss.total.item() == pytest.approx(theirs.item(), rel=1e-5)
