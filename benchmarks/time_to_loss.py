"""Measure how long a small encoder takes to reach the held-out loss of `transformers`' models.

    python benchmarks/debian_text.py --out runs/debian
    python benchmarks/time_to_loss.py prepare runs/ttl --text runs/debian/*.jsonl
    python benchmarks/time_to_loss.py train runs/ttl GROUP …
    python benchmarks/time_to_loss.py time runs/ttl         on a quiet machine
    python benchmarks/time_to_loss.py report runs/ttl

All models have 4 layers × 128 (6 × 256 in the groups `wide-…`) and the same 8k vocabulary, are
trained by the same loop on the same chunks of 128 tokens, and are evaluated on the same held-out
chunks with the same masks (15 %).

The loss after a number of steps does not depend on the speed of the machine, so `train` may run
beside other work and in several parts. `time` measures the median seconds per step, all candidates
in turns. Time to loss is the product of the two, without evaluation and saving.

`prepare --vocabulary 4096` makes a folder with another vocabulary. Losses of two vocabularies are
compared per character: `report` divides them by the mean length of the hidden tokens.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

from time_to_loss_models import LENGTH, VOCABULARY, Candidate, build

from plainformer.base import UserError, atomic_path, write_json
from plainformer.pretrain.batch import MaskedBatch, with_step_counts
from plainformer.pretrain.corpus import Corpus, prepare_corpus, read_shards
from plainformer.pretrain.data import Chunks, MaskedBatches, fixed_batches
from plainformer.pretrain.masking import Masking, ordinary_ids
from plainformer.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from plainformer.training import evaluate
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.step import take_step

HELD_OUT_TOKENS = 50_000
EVALUATIONS = 8
SEEDS = (0, 1, 2)
BERT = Candidate("hf-bert", 1e-3, tokens=3, dropout=0.0)
MODERNBERT = Candidate("hf-modern", 2e-3, tokens=3, schedule="wsd", warmup=0.02)
"""The models of transformers, each at the best rate of its sweep."""
RATES: dict[str, dict[int, tuple[float, ...]]] = {
    "hf-bert": {8: (2e-4, 5e-4, 1e-3, 2e-3), 32: (5e-4, 1e-3, 2e-3, 4e-3)},
    "hf-modern": {8: (2e-4, 5e-4, 1e-3, 2e-3, 4e-3), 32: (5e-4, 1e-3, 2e-3, 4e-3)},
}
"""The learning rates of the sweep, by model and sequences per step; no best one is the last."""
SWEPT = {"hf-bert": 2.0, "hf-modern": 1.5}
"""Millions of tokens of each run of the sweep."""
TOKENS = (0.15, 0.3, 0.35, 0.5, 0.8, 1.05)
"""Millions of tokens of the runs of ours."""
RECIPE = Candidate(
    "modern",
    learning_rate=2e-3,
    tokens=0.3,
    optimizer="muon",
    matrix_learning_rate=0.015,
    schedule="wsd",
    warmup=0.02,
    weight_decay=0.1,
    mask_ratio=0.4,
    initializer_range=0.049,
    neighbours=True,
)
WIDE_TOKENS = (0.125, 0.13, 0.15, 1.1)
"""Millions of tokens of the runs of ours at 6 × 256."""
WIDE_BERT = replace(BERT, layers=6, hidden=256)
WIDE_MODERNBERT = replace(MODERNBERT, layers=6, hidden=256, learning_rate=1e-3)
WIDE_RECIPE = replace(RECIPE, layers=6, hidden=256, initializer_range=0.035)
"""Candidates of 6 × 256; the rates of the first two are those that are good for 4 × 128."""
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "BERT's architecture": {"model": "bert"},
    "AdamW": {"optimizer": "adamw"},
    "AdamW, half the rate": {"optimizer": "adamw", "learning_rate": 1e-3},
    "a linear schedule": {"schedule": "linear"},
    "steps of 32 sequences": {"sequences": 32, "learning_rate": 4e-3, "matrix_learning_rate": 0.03},
    "15 % masked": {"mask_ratio": 0.15},
    "weight decay 0.01": {"weight_decay": 0.01},
    "σ = 0.02 at the start": {"initializer_range": 0.02},
    "random heads at the start": {"neighbours": False},
    "the vocabulary scored everywhere": {"dense_head": True},  # the same loss, more slowly
}
"""Ablations of the recipe: each but the first removes one part."""


@dataclass(frozen=True)
class Material:
    """The folder of the prepared text."""

    folder: Path

    @property
    def tokenizer(self) -> Tokenizer:
        """Load the shared tokenizer."""
        return load_tokenizer(self.folder / "tokenizer")

    def curve(self, candidate: Candidate) -> Path:
        """Return the file of a candidate's held-out losses."""
        return self.folder / "curves" / f"{candidate.name}.json"

    def batches(self, candidate: Candidate) -> MaskedBatches:
        """Return the training batches of a candidate."""
        tokenizer = self.tokenizer
        text = Chunks(read_shards(self.folder / "tokens", tokenizer, "train"), tokenizer, LENGTH)
        hide = Masking(tokenizer.mask_id, ordinary_ids(tokenizer), candidate.mask_ratio)
        return MaskedBatches(text, hide, candidate.sequences * LENGTH, seed=candidate.seed)

    def held_out(self) -> list[MaskedBatch]:
        """Return the held-out batches, equal for all candidates."""
        tokenizer = self.tokenizer
        text = Chunks(read_shards(self.folder / "tokens", tokenizer, "valid"), tokenizer, LENGTH)
        hide = Masking(tokenizer.mask_id, ordinary_ids(tokenizer))
        return with_step_counts(list(fixed_batches(text, hide, 16 * LENGTH, HELD_OUT_TOKENS)))

    def hidden_characters(self) -> float:
        """Return the mean number of characters of a hidden token."""
        tokenizer = self.tokenizer
        names = [
            tokenizer.token(int(id)).removeprefix("##")
            for batch in self.held_out()
            for id in batch.labels
        ]
        return mean(map(len, names))


def prepare(folder: Path, texts: Sequence[str], vocabulary: int = VOCABULARY) -> None:
    """Train the tokenizer, and write the token shards."""
    corpus = Corpus.of(tuple(texts), 0.02)
    if not (folder / "tokenizer").exists():
        lines = (document.text for document in corpus.documents())
        train_tokenizer(lines, kind="wordpiece", vocab_size=vocabulary).save(folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer")
    prepare_corpus(corpus, tokenizer, folder / "tokens")


def train(material: Material, candidate: Candidate) -> None:
    """Train a candidate, and write its held-out losses to curves/NAME.json, if not there yet."""
    path = material.curve(candidate)
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    config, held_out = candidate.config, material.held_out()
    model, loss = build(candidate, material.tokenizer, as_called=False)
    batches, optimizer = material.batches(candidate), build_optimizer(model, candidate.config)
    due = {round(config.steps * (i + 1) / EVALUATIONS) for i in range(EVALUATIONS)}
    curve: list[tuple[int, float]] = []
    model.train()
    for step in range(config.steps):
        take_step(ModelCall(model), loss, batches, optimizer, config, step)
        if step + 1 in due:
            score = evaluate(model, loss, held_out)["loss"]
            curve.append((step + 1, score))
            print(f"{candidate.name}: step {step + 1}/{config.steps}  {score:.3f}", flush=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"candidate": asdict(candidate), "curve": curve}))


def groups() -> dict[str, list[Candidate]]:
    """List the candidates by group."""

    def sweep(model: Candidate) -> list[Candidate]:
        return [
            replace(model, tokens=SWEPT[model.model], sequences=sequences, learning_rate=rate)
            for sequences, rates in RATES[model.model].items()
            for rate in rates
        ]

    return {
        "bert-sweep": sweep(BERT),
        "modernbert-sweep": sweep(MODERNBERT),
        "bert": [replace(BERT, seed=seed) for seed in SEEDS],
        "modernbert": [replace(MODERNBERT, seed=seed) for seed in SEEDS],
        "ours": [replace(RECIPE, tokens=t, seed=s) for t in TOKENS for s in SEEDS],
        "wide-bert": [replace(WIDE_BERT, seed=seed) for seed in SEEDS],
        "wide-modernbert": [replace(WIDE_MODERNBERT, seed=seed) for seed in SEEDS],
        "wide-ours": [replace(WIDE_RECIPE, tokens=t, seed=s) for t in WIDE_TOKENS for s in SEEDS],
        "ablations": [
            *(replace(RECIPE, seed=seed) for seed in SEEDS),
            *(replace(RECIPE, **change) for change in CHANGES.values() if change),
        ],
    }


def clock(material: Material, candidates: Sequence[Candidate], rounds: int) -> dict[str, float]:
    """Return the median seconds per step of each candidate, timed in turns."""
    runs = []
    for candidate in candidates:
        model, loss = build(candidate, material.tokenizer)
        model.train()
        runs.append(
            (model, loss, material.batches(candidate), build_optimizer(model, candidate.config))
        )
    times: dict[str, list[float]] = {candidate.timing_key: [] for candidate in candidates}
    for step in range(rounds):
        for candidate, (model, loss, batches, optimizer) in zip(candidates, runs, strict=True):
            start = perf_counter()
            take_step(ModelCall(model), loss, batches, optimizer, candidate.config, step)
            times[candidate.timing_key].append(perf_counter() - start)
    return {key: median(seconds[2:]) for key, seconds in times.items()}


@dataclass(frozen=True)
class Run:
    """The result of one candidate."""

    candidate: Candidate
    curve: list[tuple[float, float]]
    """Minutes of training and held-out loss, at each evaluation."""

    @property
    def loss(self) -> float:
        """Return the last held-out loss."""
        return self.curve[-1][1]

    @property
    def minutes(self) -> float:
        """Return the minutes of the whole training."""
        return self.curve[-1][0]


def runs_of(material: Material, seconds: dict[str, float], group: str) -> list[list[Run]]:
    """Return the runs of a group, grouped by candidate, one for each seed."""
    found: dict[Candidate, list[Run]] = {}
    for candidate in groups()[group]:
        path = material.curve(candidate)
        if path.exists():
            curve = json.loads(path.read_text())["curve"]
            run = Run(
                candidate, [(n * seconds[candidate.timing_key] / 60, loss) for n, loss in curve]
            )
            found.setdefault(replace(candidate, seed=0), []).append(run)
    return list(found.values())


def spread(values: Sequence[float]) -> str:
    """Format mean and standard deviation."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def report(material: Material) -> None:
    """Print the tables, and draw the plot."""
    seconds = json.loads((material.folder / "seconds.json").read_text())
    print(f"{material.hidden_characters():.2f} characters in a hidden token")
    for group in groups():
        print(
            f"\n{group}\n| held-out loss | seeds | minutes | ms a step | |\n|--:|--:|--:|--:|:--|"
        )
        for runs in runs_of(material, seconds, group):
            candidate = runs[0].candidate
            print(
                f"| {spread([run.loss for run in runs])} | {len(runs)} | {runs[0].minutes:.2f} "
                f"| {1000 * seconds[candidate.timing_key]:.0f} | {label(candidate, group)} |"
            )
    for group, to in {
        "bert": "ours",
        "modernbert": "ours",
        "wide-bert": "wide-ours",
        "wide-modernbert": "wide-ours",
    }.items():
        ours = runs_of(material, seconds, to)
        for theirs in runs_of(material, seconds, group):
            print(f"\n{group}: " + ", ".join(f"{run.loss:.3f}" for run in theirs))
            for what, of in {"mean": mean, "best seed": min}.items():
                compare(what, of([run.loss for run in theirs]), theirs[0].minutes, ours)
    draw(material, seconds)


def compare(what: str, goal: float, minutes: float, ours: list[list[Run]]) -> None:
    """Print after how much of their time the mean of our seeds reaches a loss."""
    there = [runs for runs in ours if mean(run.loss for run in runs) <= goal]
    if there:
        first = min(there, key=lambda runs: runs[0].minutes)
        print(
            f"its {what}, {goal:.3f} after {minutes:.2f} minutes; ours, the mean of seeds, "
            f"{mean(run.loss for run in first):.3f} after {first[0].minutes:.2f}: "
            f"1/{minutes / first[0].minutes:.1f}"
        )


def label(candidate: Candidate, group: str) -> str:
    """Return the name of a candidate in the table; for an ablation, the removed part."""
    recipes = {replace(RECIPE, **change): name for name, change in CHANGES.items()}
    return recipes[replace(candidate, seed=0)] if group == "ablations" else candidate.name


def draw(material: Material, seconds: dict[str, float]) -> None:
    """Plot all curves in one figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    looks = {
        "bert": ("#a0aec0", "BertForMaskedLM, AdamW"),
        "modernbert": ("#dd6b20", "ModernBertForMaskedLM, AdamW, WSD"),
        "ours": ("#2b6cb0", "Plainformer, its recipe"),
    }
    for group, (colour, label) in looks.items():
        for runs in runs_of(material, seconds, group):
            for run in runs:
                axes.plot(*zip(*run.curve, strict=True), color=colour, linewidth=1, alpha=0.8)
                axes.plot(run.minutes, run.loss, "o", color=colour, markersize=3)
        axes.plot([], [], color=colour, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("minutes of training on two cores")
    axes.set_ylabel("held-out loss (nats a token)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(material.folder / "time-to-loss.png", dpi=150)


def main() -> None:
    """Run the chosen command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["prepare", "train", "time", "report"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("groups", nargs="*")
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    material = Material(options.folder)
    if options.what != "prepare" and not (options.folder / "tokens").is_dir():
        parser.error(f"no prepared text in {options.folder}: run prepare first")
    if options.what == "report" and not (options.folder / "seconds.json").exists():
        parser.error(f"no seconds of a step in {options.folder}: run time first")
    for group in options.groups:
        if group[0] != "{" and group not in groups():
            parser.error(f"there is no group {group!r}: choose {', '.join(groups())}")
    if options.what == "prepare":
        try:
            prepare(options.folder, options.text, options.vocabulary)
        except UserError as error:
            parser.error(str(error))
    elif options.what == "train":
        for group in options.groups:
            for candidate in (
                [Candidate(**json.loads(group))] if group[0] == "{" else groups()[group]
            ):
                train(material, candidate)
    elif options.what == "time":
        candidates = {
            candidate.timing_key: candidate for group in groups().values() for candidate in group
        }
        seconds = clock(material, list(candidates.values()), options.rounds)
        write_json(options.folder / "seconds.json", seconds)
        print(json.dumps(seconds, indent=1))
    else:
        report(material)


if __name__ == "__main__":
    main()
