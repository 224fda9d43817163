"""Run every stage on one real text, a dictionary, and measure what pretraining gains.

1. train a tokenizer on the dictionary's definitions;
2. pretrain a small encoder on them, by masked language modelling;
3. predict the masked words of a few sentences;
4. fine-tune a classifier of the defined word (noun, verb, adjective or adverb) on 25 definitions of
   each class: from the pretrained and from random weights, each at its own best learning rate, over
   several seeds;
5. compare the two on 4,000 held-out definitions, and label two new ones.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plainformer.base import (
    above,
    between,
    check_bounds,
    output_folder,
    write_json,
    write_text,
)
from plainformer.base.figures import BLUE, GREY, panel, save_png
from plainformer.corpora import fetch, read_texts
from plainformer.encoder import MaskedLM
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    evaluate_folder,
    few_of_each,
    finetune,
    read_examples,
)
from plainformer.finetune.report.figures import figures
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.pretrain import PretrainConfig, fill_mask, pretrain
from plainformer.tokenizer import load_tokenizer, train_tokenizer
from plainformer.training import LoopConfig

VOCABULARY = 8192
PER_LABEL = 25
VALID_PER_LABEL = 50
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
SEARCH_SEEDS = (100, 101)  # unlike the seeds of the reported runs
SENTENCES = (
    "A large [MASK] found in the rivers of South America.",
    "One who [MASK] books.",
    "To [MASK] with a sharp knife.",
    "In a [MASK] manner; slowly.",
)
NEW_DEFINITIONS = (
    "To send a short written message from one telephone to another.",
    "A small computer that is carried in the pocket.",
)
STARTS = ("pretrained", "random")


@dataclass(frozen=True)
class DemoOptions:
    """Run all stages on a dictionary: tokenizer, pretraining, fine-tuning, prediction."""

    out: Path = Path("runs/demo")
    """Folder for all results; those of an earlier demo are replaced."""

    minutes: float = 4.0
    """Minutes of pretraining."""

    seeds: int = 5
    """Number of fine-tuning runs from each start, each on another sample of examples."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, minutes=above(0, 100_000), seeds=between(2, 1000))


def demo(options: DemoOptions) -> None:
    """Run every stage, print the results, and write plots and `summary.json` into `out`."""
    with output_folder(options.out, "demo"):
        run_stages(options, DemoLog(options.out))


def run_stages(options: DemoOptions, log: "DemoLog") -> None:
    """Run the stages in order, and print the result of each."""
    with log.stage("data", "a dictionary, and the parts of speech of its words"):
        text = fetch("gcide") / "train.txt"
        fetch("gcide-pos")
    with log.stage("tokenizer", f"a vocabulary of {VOCABULARY:,} pieces"):
        tokenizer = train_tokenizer(read_texts(text), kind="wordpiece", vocab_size=VOCABULARY)
        tokenizer.save(options.out / "tokenizer")
    with log.stage("pretrain", f"predicting masked words, for {options.minutes:g} minutes"):
        held_out = pretrain_on_definitions(options)
    log.say(
        f"held-out loss {held_out['loss']:.2f} nats a token (perplexity "
        f"{held_out['perplexity']:.0f}), {held_out['accuracy']:.0%} of the masked tokens right"
    )
    show_guesses(log, options.out / "pretrained")
    with log.stage("fine-tune", f"four parts of speech, from {PER_LABEL} definitions of each"):
        comparison = compare(options, log)
    log.show(comparison)
    draw(comparison, options.out / "accuracy.png")
    show_predictions(log, options.out / "classifier")
    finish(options, log, held_out, comparison)


class DemoLog:
    """The printed log of the demo: stages, their times and results."""

    def __init__(self, out: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._console = Console(highlight=False)
        for name in ("tokenizer", "pretrained", "few", "runs", "classifier"):
            shutil.rmtree(out / name, ignore_errors=True)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Print the name of a stage, and time it."""
        self._console.print(f"\n[bold]{name}[/]  {what}")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)
        self.say(f"{self.seconds[name]:.0f} seconds")

    def say(self, text: str, detail: str = "") -> None:
        """Print one line under the stage, its detail in a fainter colour, without markup."""
        line = Text(f"  {text}")
        if detail:
            line.append(f"  {detail}", "dim")
        self._console.print(line, soft_wrap=True)

    def show(self, comparison: "Comparison") -> None:
        """Print the accuracies from both starts, and their difference."""
        table = Table("start", box=None, header_style="bold", pad_edge=True)
        for column in ("accuracy", "± over seeds", "lowest", "highest", "learning rate"):
            table.add_column(column, justify="right")
        for start in STARTS:
            scores = comparison.accuracy[start]
            table.add_row(
                start,
                f"{mean(scores):.1%}",
                f"{stdev(scores):.1%}",
                f"{min(scores):.1%}",
                f"{max(scores):.1%}",
                f"{comparison.learning_rate[start]:g}",
            )
        self._console.print()
        self._console.print(table)
        gain = mean(comparison.accuracy["pretrained"]) - mean(comparison.accuracy["random"])
        self.say(f"pretraining gains {100 * gain:.1f} points of accuracy")


@dataclass(frozen=True)
class Comparison:
    """Test accuracies of all seeds, and the best learning rate, by start."""

    accuracy: dict[str, list[float]]
    learning_rate: dict[str, float]


def pretrain_on_definitions(options: DemoOptions) -> dict[str, float]:
    """Pretrain a small modern encoder; return its held-out loss, accuracy and perplexity."""
    result = pretrain(
        PretrainConfig(
            corpus=("gcide",),
            tokenizer=options.out / "tokenizer",
            out=options.out / "pretrained",
            preset="modern-tiny",
            budget=f"{options.minutes:g}m",
        )
    )
    return dict(result.final)


def show_guesses(log: DemoLog, folder: Path) -> None:
    """Print the predictions of the model for the masked words of a few sentences."""
    model, tokenizer = MaskedLM.from_pretrained(folder), load_tokenizer(folder)
    for sentence in SENTENCES:
        (guesses,) = fill_mask(model, tokenizer, sentence)
        words = ", ".join(f"{guess.token} {guess.probability:.0%}" for guess in guesses)
        log.say(sentence, words)


def compare(options: DemoOptions, log: DemoLog) -> Comparison:
    """Fine-tune from both starts; keep the best pretrained run in `out/classifier`."""
    out = options.out
    pool = list(read_examples(Classification, "gcide-pos", "train"))
    valid = read_examples(Classification, "gcide-pos", "valid")
    write_examples(out / "few" / "valid.jsonl", few_of_each(valid, VALID_PER_LABEL, seed=0))

    def run(start: str, rate: float, seed: int) -> tuple[Path, float]:
        train = out / "few" / f"train-{seed}.jsonl"
        if not train.exists():
            write_examples(train, few_of_each(pool, PER_LABEL, seed))
        folder = out / "runs" / f"{start}-{rate:g}-{seed}"
        config = FinetuneConfig(
            model=out / "pretrained",
            train=str(train),
            valid=str(out / "few" / "valid.jsonl"),
            out=folder,
            epochs=20.0,
            batch_size=16,
            from_scratch=start == "random",
            training=LoopConfig(learning_rate=rate, seed=seed, checkpoint_every=0),
        )
        score = finetune(config, quiet=True).score
        shutil.rmtree(folder / "checkpoints")
        return folder, score

    accuracy: dict[str, list[float]] = {}
    best_rate: dict[str, float] = {}
    for start in STARTS:
        found = {
            rate: mean(run(start, rate, seed)[1] for seed in SEARCH_SEEDS)
            for rate in LEARNING_RATES
        }
        best_rate[start] = max(found, key=lambda rate: found[rate])
        tried = ", ".join(f"{rate:g}: {score:.0%}" for rate, score in found.items())
        log.say(f"{start}: validation accuracy by learning rate {tried}")
        runs = [run(start, best_rate[start], seed) for seed in range(options.seeds)]
        accuracy[start] = []
        for folder, _ in runs:
            metric = evaluate_folder(folder, "gcide-pos").metric
            save_png(figures(metric)["confusion"], folder / "confusion.png")
            accuracy[start].append(metric.scores()["accuracy"])
            log.say(f"{start}: test accuracy {accuracy[start][-1]:.1%}")
        if start == "pretrained":
            best = max(runs, key=lambda pair: pair[1])[0]
            shutil.copytree(best, out / "classifier")
    return Comparison(accuracy, best_rate)


def write_examples(path: Path, examples: Sequence[ClassExample]) -> None:
    """Write labelled examples as JSONL."""
    rows = [json.dumps({"text": e.text, "label": e.label}, ensure_ascii=False) for e in examples]
    write_text(path, "\n".join(rows) + "\n")


def draw(comparison: Comparison, path: Path) -> None:
    """Plot the comparison: a dot for each seed, a line for the mean."""
    figure, axes = panel(5.6, 2.2)
    axes.grid(axis="y", visible=False)
    for row, (start, colour) in enumerate(zip(STARTS, (BLUE, GREY), strict=True)):
        scores = [100 * score for score in comparison.accuracy[start]]
        axes.scatter(scores, [row] * len(scores), color=colour, s=45, alpha=0.7, zorder=2)
        axes.plot([mean(scores)] * 2, [row - 0.25, row + 0.25], color=colour, linewidth=2.5)
        axes.annotate(f"{mean(scores):.1f}", (mean(scores), row - 0.36), ha="center", va="bottom")
    axes.set_yticks(range(len(STARTS)), [f"{start} weights" for start in STARTS])
    axes.set_ylim(1.5, -0.7)
    axes.set_xlabel(f"test accuracy (%) after {PER_LABEL} examples of each class")
    save_png(figure, path)


def show_predictions(log: DemoLog, folder: Path) -> None:
    """Label definitions of words that a dictionary of 1913 does not have."""
    predictor = Predictor.load(folder)
    for text, prediction in zip(NEW_DEFINITIONS, predictor(NEW_DEFINITIONS), strict=True):
        probability = prediction.probabilities[prediction.label]
        log.say(text, f"{prediction.label} {probability:.0%}")


def finish(
    options: DemoOptions, log: DemoLog, held_out: dict[str, float], comparison: Comparison
) -> None:
    """Write all figures to `summary.json`, and list the files of the demo."""
    out = options.out
    summary = {
        "accuracy": comparison.accuracy,
        "learning_rate": comparison.learning_rate,
        "held_out": held_out,
        "seconds": log.seconds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    write_json(out / "summary.json", summary)
    log.say(f"\n  {sum(log.seconds.values()) / 60:.1f} minutes in all. Look at:")
    for name, what in (
        ("pretrained/curve.png", "the loss of pretraining"),
        ("accuracy.png", "accuracy with and without pretraining"),
        ("classifier/confusion.png", "which classes are confused"),
        ("classifier/curve.png", "the loss of fine-tuning"),
        ("summary.json", "all figures"),
    ):
        log.say(str(out / name), what)
    log.say(f"and try: plainformer predict {out / 'classifier'} --text 'Full of joy.'")
