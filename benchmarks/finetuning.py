"""Compare fine-tuning with that of `transformers` from the same start, batches and settings.

    python benchmarks/finetuning.py --model FOLDER [--tasks trec stsb conll2003] [--seeds 5]
                                    [--subset 1000] [--out FILE.json]

FOLDER is `minilm` of `plainformer data list`, or another BERT. Both sides start from the same
weights, including the head, and train on the same batches: AdamW without decay of biases and norms,
linear decay of the learning rate, gradients clipped at 1, fp32.

1. Losses: 20 steps without dropout. Prints the largest difference between the two losses.
2. Scores: three epochs with dropout 0.1 for each seed, both sides in turns. Prints mean and
   standard deviation of the test score over the seeds, and the seconds of training.

`--subset N` uses the first N training and test examples (0: all). The trainer of `transformers`
(`pip install '.[bench]'`) pads each batch to its longest text, as its users do.
"""

import argparse
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.utils.data import DataLoader

from plainformer.base import find_folder, write_json
from plainformer.finetune import TASKS, FinetuneConfig, read_examples
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.prediction.predictor import encode_all, measure
from plainformer.finetune.run import build
from plainformer.finetune.task import Task
from plainformer.tokenizer import load_tokenizer
from plainformer.training import LoopConfig, Loss, TrainingConfig, by_items, train

COURSE = 20
TASK_OF = {"trec": "classification", "stsb": "regression", "conll2003": "tagging"}
HEAD_OF = {
    "classification": transformers.AutoModelForSequenceClassification,
    "regression": transformers.AutoModelForSequenceClassification,
    "tagging": transformers.AutoModelForTokenClassification,
}
RATE_OF = {"classification": 2e-4, "regression": 1e-4, "tagging": 2e-4}
IGNORED = -100
SIDES = ("plainformer", "transformers")


@dataclass(frozen=True)
class Comparison:
    """A task with its examples and settings, for both sides."""

    name: str
    config: FinetuneConfig
    task: Task[Any, Any, Any]
    train: list[Item]
    test: list[tuple[Any, Item]]
    steps: int

    @classmethod
    def of(cls, name: str, model: Path, subset: int) -> "Comparison":
        """Read and encode the examples of a data set."""
        kind = TASKS[TASK_OF[name]]
        config = FinetuneConfig(
            model=model,
            train=name,
            valid=name,
            out=Path("unused"),
            task=kind.Options(),
            max_length=128,
            layer_decay=1.0,
            training=LoopConfig(
                learning_rate=RATE_OF[TASK_OF[name]],
                betas=(0.9, 0.999),
                eps=1e-8,
                warmup=0.0,
                checkpoint_every=0,
                precision="fp32",
            ),
        )
        tokenizer = load_tokenizer(model)
        examples, test = (
            list(islice(read_examples(kind, name, split), subset or None))
            for split in ("train", "test")
        )
        task = kind.fit(config, examples)
        items = [item for _, item in encode_all(task, tokenizer, examples)]
        steps = by_items(len(items), config.batch_size, seed=0).steps(epochs=3)
        return cls(name, config, task, items, list(encode_all(task, tokenizer, test)), steps)

    def with_seed(self, seed: int, dropout: float, steps: int) -> FinetuneConfig:
        """Return the settings of one run."""
        training = TrainingConfig(**{**vars(self.config.training), "seed": seed, "steps": steps})
        return replace(self.config, dropout=dropout, training=training)

    def batches(self, config: FinetuneConfig) -> list[list[Item]]:
        """Yield the items of each step."""
        order = by_items(len(self.train), config.batch_size, seed=config.training.seed)
        return [
            [self.train[i] for micro in order(step) for i in micro]
            for step in range(config.training.steps)
        ]


@dataclass(frozen=True)
class Run:
    """The result of one side."""

    losses: list[float]
    seconds: float
    score: float


def ours(comparison: Comparison, config: FinetuneConfig, start: Path, out: Path) -> Run:
    """Train with the loop of `training`."""
    task, batches = comparison.task, comparison.batches(config)
    losses = []

    def objective(model: Any, batch: Batch) -> Loss:
        loss = task.loss(task.outputs(model, batch), batch)
        losses.append(loss.total.item() / loss.items)
        return loss

    model = task.build(replace(config, model=start))
    begin = time.perf_counter()
    train(model, objective, lambda s: [Batch.of(batches[s])], config.training, out, quiet=True)
    seconds = time.perf_counter() - begin
    metric = measure(task, model, comparison.test)
    return Run(losses, seconds, metric.scores()[task.monitor])


def theirs(comparison: Comparison, config: FinetuneConfig, start: Path, out: Path) -> Run:
    """Train with the trainer of `transformers`."""
    task, settings = comparison.task, config.training
    model = HEAD_OF[config.task.name].from_pretrained(start)
    losses = []

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self) -> DataLoader:
            return DataLoader(comparison.batches(config), batch_size=None, collate_fn=padded)

        def compute_loss(self, *arguments: Any, **options: Any) -> Any:
            found = super().compute_loss(*arguments, **options)
            losses.append((found[0] if isinstance(found, tuple) else found).item())
            return found

    arguments = transformers.TrainingArguments(
        output_dir=str(out),
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        adam_epsilon=settings.eps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip_norm,
        lr_scheduler_type="linear",
        warmup_steps=0,
        seed=settings.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=comparison.train)
    trainer.remove_callback(transformers.PrinterCallback)
    begin = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - begin
    metric = task.metric()
    model.eval()
    for numbered in by_length([item for _, item in comparison.test]):
        moved = Batch.of([item for _, item in numbered]).to(model.device)
        with torch.no_grad():
            outputs = task.outputs(packed(model, moved), moved)
        for (index, _), prediction in zip(numbered, task.predict(outputs, moved), strict=True):
            task.add_to(metric, comparison.test[index][0], prediction)
    return Run(losses, seconds, metric.scores()[task.monitor])


def packed(model: Any, batch: Batch) -> Any:
    """Give a model of `transformers` the interface of ours, for this one batch."""

    def logits(*_: Any) -> Tensor:
        found = model(**padded_inputs(batch)).logits
        return batch.sequences.unpad(found) if found.dim() == 3 else found

    return logits


def padded(items: list[Item]) -> dict[str, Tensor]:
    """Pad a batch to its longest text for `transformers`, with labels."""
    batch = Batch.of(items)
    labels = batch.targets
    if len(labels) == batch.num_tokens:
        labels = batch.sequences.pad(labels - IGNORED) + IGNORED
    return {**padded_inputs(batch), "labels": labels}


def padded_inputs(batch: Batch) -> dict[str, Tensor]:
    """Return the padded inputs of the model."""
    pad = batch.sequences.pad
    return {
        "input_ids": pad(batch.input_ids),
        "attention_mask": pad(torch.ones_like(batch.input_ids)),
        "token_type_ids": pad(batch.token_type_ids),
    }


def compare(comparison: Comparison, seed: int, dropout: float, steps: int) -> tuple[Run, Run]:
    """Train both sides from the same start, one after the other."""
    config = comparison.with_seed(seed, dropout, steps)
    with TemporaryDirectory() as name:
        folder = Path(name)
        build(comparison.task, config).save_pretrained(folder / "start")
        sides = [(ours, "ours"), (theirs, "theirs")]
        found = {
            side: run(comparison, config, folder / "start", folder / side)
            for run, side in (sides if seed % 2 == 0 else sides[::-1])
        }
    return found["ours"], found["theirs"]


def report_on(comparison: Comparison, seeds: int) -> dict[str, Any]:
    """Run one task, and print its figures."""
    course = compare(comparison, seed=0, dropout=0.0, steps=COURSE)
    gap = max(abs(a - b) for a, b in zip(course[0].losses, course[1].losses, strict=True))
    print(
        f"\n{comparison.name}: the losses of {COURSE} steps differ by at most {gap:.1e}", flush=True
    )
    runs = [compare(comparison, seed, dropout=0.1, steps=comparison.steps) for seed in range(seeds)]
    for side, mine in zip(SIDES, zip(*runs, strict=True), strict=True):
        scores = [run.score for run in mine]
        spread = stdev(scores) if len(scores) > 1 else 0.0
        print(
            f"  {side:<12} {comparison.task.monitor} {mean(scores):.4f} ± {spread:.4f} "
            f"({min(scores):.4f} – {max(scores):.4f}), "
            f"{median(run.seconds for run in mine):.1f} s",
            flush=True,
        )
    return {
        "monitor": comparison.task.monitor,
        "steps": comparison.steps,
        "loss_gap": gap,
        "losses": {side: run.losses for side, run in zip(SIDES, course, strict=True)},
        "scores": [[run.score for run in pair] for pair in runs],
        "seconds": [[run.seconds for run in pair] for pair in runs],
    }


def main() -> None:
    """Compare on every task, and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=find_folder, required=True)
    parser.add_argument("--tasks", nargs="*", choices=list(TASK_OF), default=list(TASK_OF))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--subset", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    versions = {name: version(name) for name in ("torch", "transformers", "accelerate")}
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    examples = f"{options.subset or 'all'} examples"
    print(f"{torch.get_num_threads()} threads, {examples}, {options.seeds} seeds")
    tasks: dict[str, Any] = {}
    for name in options.tasks:
        tasks[name] = report_on(Comparison.of(name, options.model, options.subset), options.seeds)
        if options.out is not None:
            settings = {"subset": options.subset, "threads": torch.get_num_threads()}
            write_json(options.out, {"versions": versions, **settings, "tasks": tasks})


if __name__ == "__main__":
    main()
