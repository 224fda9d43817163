"""The whole story on one real text, a dictionary: what pretraining is worth, in ten minutes.

1. train a tokenizer on the dictionary's definitions;
2. pretrain a small encoder on them, by masked language modelling;
3. let it guess a few masked words;
4. from 25 labelled definitions a class, learn to tell from a definition whether the word is a noun,
   a verb, an adjective or an adverb: from the pretrained weights, and from random ones, each at its
   own best learning rate, over several seeds;
5. compare the two on 4,000 definitions that no stage has seen, and label two new ones.
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
    atomic_path,
    between,
    check_bounds,
    output_folder,
    write_json,
    write_text,
)
from plainformer.corpora import fetch, read_texts
from plainformer.encoder import MaskedLM
from plainformer.finetune import (
    FinetuneConfig,
    Outcome,
    Predictor,
    evaluate_folder,
    few_of_each,
    finetune,
    read_examples,
)
from plainformer.finetune.report.figures import save
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.pretrain import PretrainConfig, fill_mask, pretrain
from plainformer.tokenizer import load_tokenizer, train_tokenizer
from plainformer.training import TrainingConfig

VOCABULARY = 8192
PER_LABEL = 25
VALID_PER_LABEL = 50
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
SEARCH_SEEDS = (100, 101)
"""other draws of the labelled definitions than those that are reported"""
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
    """Tell the whole story on a dictionary: tokenizer, pretraining, fine-tuning, prediction."""

    out: Path = Path("runs/demo")
    """Folder for everything that comes of it; what an earlier demo left there is replaced."""

    minutes: float = 4.0
    """How long to pretrain."""

    seeds: int = 5
    """How often to fine-tune from each start, each time from another draw of examples."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, minutes=above(0, 100_000), seeds=between(2, 1000))


def demo(options: DemoOptions) -> None:
    """Run every stage, print what it finds, and leave pictures and `summary.json` in `out`."""
    with output_folder(options.out, "demo"):
        tell(options, Story(options.out))


def tell(options: DemoOptions, story: "Story") -> None:
    """Run the stages in order, and print what each does."""
    with story.stage("data", "a dictionary, and the types of its words"):
        text = fetch("gcide") / "train.txt"
        fetch("gcide-pos")
    with story.stage("tokenizer", f"a vocabulary of {VOCABULARY:,} pieces"):
        tokenizer = train_tokenizer(read_texts(text), kind="wordpiece", vocab_size=VOCABULARY)
        tokenizer.save(options.out / "tokenizer")
    with story.stage("pretrain", f"guessing masked words, for {options.minutes:g} minutes"):
        held_out = pretrain_on_definitions(options)
    story.say(
        f"held-out loss {held_out['loss']:.2f} nats a token (perplexity "
        f"{held_out['perplexity']:.0f}), {held_out['accuracy']:.0%} of the masked tokens right"
    )
    show_guesses(story, options.out / "pretrained")
    with story.stage("fine-tune", f"four types of word, from {PER_LABEL} definitions of each"):
        comparison = compare(options, story)
    story.show(comparison)
    draw(comparison, options.out / "accuracy.png")
    show_predictions(story, options.out / "classifier")
    finish(options, story, held_out, comparison)


class Story:
    """What is told while the demo runs: stages, their times, and what was found."""

    def __init__(self, out: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._console = Console(highlight=False)
        for name in ("tokenizer", "pretrained", "few", "runs", "classifier"):
            shutil.rmtree(out / name, ignore_errors=True)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Announce a stage, and time it."""
        self._console.print(f"\n[bold]{name}[/]  {what}")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)
        self.say(f"{self.seconds[name]:.0f} seconds")

    def say(self, text: str, detail: str = "") -> None:
        """Print one line under the stage, its detail in a fainter colour; brackets stay as such."""
        line = Text(f"  {text}")
        if detail:
            line.append(f"  {detail}", "dim")
        self._console.print(line, soft_wrap=True)

    def show(self, comparison: "Comparison") -> None:
        """Print the table that the demo is for."""
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
        self.say(f"pretraining is worth {100 * gain:.1f} points of accuracy")


@dataclass(frozen=True)
class Comparison:
    """Test accuracies over the seeds, and the learning rate that suited each start."""

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


def show_guesses(story: Story, folder: Path) -> None:
    """Print what the model expects in a few sentences."""
    model, tokenizer = MaskedLM.from_pretrained(folder), load_tokenizer(folder)
    for sentence in SENTENCES:
        (guesses,) = fill_mask(model, tokenizer, sentence)
        words = ", ".join(f"{guess.token} {guess.probability:.0%}" for guess in guesses)
        story.say(sentence, words)


def compare(options: DemoOptions, story: Story) -> Comparison:
    """Fine-tune from both starts; keep the best pretrained run in `out/classifier`."""
    out = options.out
    pool = list(read_examples(Classification, "gcide-pos", "train"))
    valid = read_examples(Classification, "gcide-pos", "valid")
    write_examples(
        out / "few" / "valid.jsonl", few_of_each(Classification, valid, VALID_PER_LABEL, seed=0)
    )

    def run(start: str, rate: float, seed: int) -> tuple[Path, Outcome]:
        train = out / "few" / f"train-{seed}.jsonl"
        if not train.exists():
            write_examples(train, few_of_each(Classification, pool, PER_LABEL, seed))
        folder = out / "runs" / f"{start}-{rate:g}-{seed}"
        config = FinetuneConfig(
            model=out / "pretrained",
            train=str(train),
            valid=str(out / "few" / "valid.jsonl"),
            out=folder,
            epochs=20.0,
            batch_size=16,
            from_scratch=start == "random",
            training=TrainingConfig(learning_rate=rate, seed=seed, checkpoint_every=0),
        )
        outcome = finetune(config, quiet=True)
        shutil.rmtree(folder / "checkpoints")
        return folder, outcome

    accuracy: dict[str, list[float]] = {}
    best_rate: dict[str, float] = {}
    for start in STARTS:
        found = {
            rate: mean(run(start, rate, seed)[1].score for seed in SEARCH_SEEDS)
            for rate in LEARNING_RATES
        }
        best_rate[start] = max(found, key=lambda rate: found[rate])
        tried = ", ".join(f"{rate:g}: {score:.0%}" for rate, score in found.items())
        story.say(f"{start}: validation accuracy by learning rate {tried}")
        runs = [run(start, best_rate[start], seed) for seed in range(options.seeds)]
        accuracy[start] = []
        for folder, _ in runs:
            metric = evaluate_folder(folder, "gcide-pos").metric
            save(metric.figures()["confusion"], folder / "confusion.png")
            accuracy[start].append(metric.scores()["accuracy"])
            story.say(f"{start}: test accuracy {accuracy[start][-1]:.1%}")
        if start == "pretrained":
            best = max(runs, key=lambda pair: pair[1].score)[0]
            shutil.copytree(best, out / "classifier")
    return Comparison(accuracy, best_rate)


def write_examples(path: Path, examples: Sequence[ClassExample]) -> None:
    """Labelled examples as JSONL, for a person to look at and a run to read."""
    rows = [
        json.dumps({"text": e.text.text, "label": e.label}, ensure_ascii=False) for e in examples
    ]
    write_text(path, "\n".join(rows) + "\n")


def draw(comparison: Comparison, path: Path) -> None:
    """The comparison as a picture: a dot for each seed, a line for the mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 2.2), layout="constrained")
    axes = figure.subplots()
    for row, (start, colour) in enumerate(zip(STARTS, ("#2b6cb0", "#a0aec0"), strict=True)):
        scores = [100 * score for score in comparison.accuracy[start]]
        axes.scatter(scores, [row] * len(scores), color=colour, s=45, alpha=0.7, zorder=2)
        axes.plot([mean(scores)] * 2, [row - 0.25, row + 0.25], color=colour, linewidth=2.5)
        axes.annotate(f"{mean(scores):.1f}", (mean(scores), row - 0.36), ha="center", va="bottom")
    axes.set_yticks(range(len(STARTS)), [f"{start} weights" for start in STARTS])
    axes.set_ylim(1.5, -0.7)
    axes.set_xlabel(f"test accuracy (%) after {PER_LABEL} examples of each type")
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def show_predictions(story: Story, folder: Path) -> None:
    """Label definitions that are in no dictionary of 1913."""
    predictor = Predictor.load(folder)
    for text, prediction in zip(NEW_DEFINITIONS, predictor(NEW_DEFINITIONS), strict=True):
        probability = prediction.probabilities[prediction.label]
        story.say(text, f"{prediction.label} {probability:.0%}")


def finish(
    options: DemoOptions, story: Story, held_out: dict[str, float], comparison: Comparison
) -> None:
    """Write all figures to `summary.json`, and say where everything is."""
    out = options.out
    summary = {
        "accuracy": comparison.accuracy,
        "learning_rate": comparison.learning_rate,
        "held_out": held_out,
        "seconds": story.seconds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    write_json(out / "summary.json", summary)
    story.say(f"\n  {sum(story.seconds.values()) / 60:.1f} minutes in all. Look at:")
    for name, what in (
        ("pretrained/curve.png", "the loss of pretraining"),
        ("accuracy.png", "what pretraining is worth"),
        ("classifier/confusion.png", "which types are taken for which"),
        ("classifier/curve.png", "the course of fine-tuning"),
        ("summary.json", "all figures"),
    ):
        story.say(str(out / name), what)
    story.say(f"and try: plainformer predict {out / 'classifier'} --text 'Full of joy.'")
