"""Compare methods of fine-tuning: what each is worth beside plain fine-tuning, and what it costs.

    python benchmarks/methods.py rates               chooses the learning rates
    python benchmarks/methods.py scores [--seeds 5]  trains with each method on each set
    python benchmarks/methods.py costs [--rounds 3]  measures seconds, memory and bytes
    python benchmarks/methods_table.py               prints the table and draws the picture

All start from `minilm` and take the same number of steps on batches of 16, without selecting
weights: 100, and on two sets LoRA and plain fine-tuning also 300. A seed draws the labelled
examples, the head, the order and the dropout, the same for all methods, so that differences are
paired. Scores are those of the first 500 test examples. Self-training reads as many texts more,
without their labels, and trains twice.

Rates: each method that trains other parameters has, for each data set, its best rate on validation
examples, with 500 labels of a seed of their own and 100 steps: of three at first, then of the next
larger or smaller one for as long as that is best. The others have the rate of plain fine-tuning.
Costs: 20 steps on TREC in a process of its own, on one thread, methods in turns.

Every line of `--out` is one result. What is there is not run again, so the three can be stopped; a
score at another rate is. Several processes share the work by `--part 1/4` or `--sets films`, each
with an `--out` of its own, a copy of the file so far; of all together, the last line of each key is
the result.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from methods_compared import METHODS, SETS, STEPS, Set, configured, drawn, examples_of
from results_file import Results

from plainformer.base.allocator import keep_memory
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune import (
    DistillationOptions,
    FinetuneConfig,
    Predictor,
)
from plainformer.finetune.lr_decay import layer_multipliers
from plainformer.finetune.run import build, finetune_on
from plainformer.finetune.soup import soup

OUT = Path(__file__).parent / "results" / "methods.jsonl"
COST_STEPS = 20
TEST_EXAMPLES = 500
RATES_SEED, RATES_EXAMPLES = 1000, 500
GRID = tuple(float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 3))
"""The rates that are tried."""
MEMBERS = 3
TOGETHER = tuple(f"{what} {MEMBERS}" for what in ("ensemble of", "soup of", "distilled from"))
"""Methods that combine several plain runs on the same examples."""


def train(config: FinetuneConfig, of: Set, seed: int) -> None:
    """Train once, on the labelled examples of a seed."""
    examples = drawn(of, seed)
    task = config.kind.fit(config, examples)
    finetune_on(task, examples, [], config, {}, quiet=True)


def score_of(folders: Path | list[Path], of: Set, part: str) -> dict[str, float]:
    """Return the scores of a model, or of several together, on the first examples of a part.

    The main score is first.
    """
    found = Predictor.load(folders)
    judged = islice(examples_of(of.task, of.name, part), TEST_EXAMPLES)
    metric = found.task.metric()
    for example, _, prediction in found.predict_examples(judged):
        found.task.add_to(metric, example, prediction)
    return dict(metric.scores())


class RatesAndScores(Results):
    """The results, with the rate of each method."""

    def tried(self, of: Set, name: str) -> dict[float, float]:
        """Return the rates of a method that were tried on a data set, with their scores."""
        begin = ["rate", of.name, name]
        return {x["key"][3]: x["score"] for x in self.found.values() if list(x["key"][:3]) == begin}

    def rate(self, of: Set, name: str) -> float | None:
        """Return the best rate of a method for a data set, or that of plain fine-tuning.

        None where no rate was tried: the method does not go with the task.
        """
        tried = self.tried(of, name if METHODS[name].rates else "plain")
        return max(tried, key=lambda rate: tried[rate], default=None)

    def has_score(self, title: str, name: str, seed: int, rate: float) -> bool:
        """Return whether a score at this rate is there."""
        line = self.found.get(("score", title, name, seed))
        return line is not None and bool(line["rate"] == rate)


def next_rate(first: Sequence[float], tried: Mapping[float, float]) -> float | None:
    """Return the rate to try next; None where both beside the best one were tried."""
    for rate in first:
        if rate not in tried:
            return rate
    best = GRID.index(max(tried, key=lambda rate: tried[rate]))
    return next((rate for rate in GRID[max(best - 1, 0) : best + 2] if rate not in tried), None)


def choose_rates(results: RatesAndScores, title: str, names: Iterable[str]) -> None:
    """Score rates of these methods on validation examples of a set, until the best is known."""
    of = replace(SETS[title], examples=RATES_EXAMPLES, steps=STEPS)
    for name in names:
        first = METHODS[name].rates
        while first and (rate := next_rate(first, results.tried(of, name))) is not None:
            with TemporaryDirectory() as folder:
                config = configured(name, of, rate, RATES_SEED, Path(folder) / "run")
                if config is None:
                    break
                train(config, of, RATES_SEED)
                scores = score_of(config.out, of, "valid")
            results.add("rate", of.name, name, rate, score=next(iter(scores.values())))


def score_all(
    results: RatesAndScores, titles: Iterable[str], seeds: int, part: int = 0, parts: int = 1
) -> None:
    """Train with each method on each of these sets, set by set; of several parts, do one."""
    for title in titles:
        of = SETS[title]
        names = list(of.methods or METHODS)[part::parts]
        choose_rates(results, title, ["plain", *names])
        for seed in range(seeds):
            for name in names:
                rate = results.rate(of, name)
                if rate is None or results.has_score(title, name, seed, rate):
                    continue
                with TemporaryDirectory() as folder:
                    config = configured(name, of, rate, seed, Path(folder) / "run")
                    if config is None:
                        continue
                    train(config, of, seed)
                    scores = score_of(config.out, of, "test")
                (monitor, score), *_ = scores.items()
                results.add("score", title, name, seed, score=score, monitor=monitor, rate=rate)
            if part == len(METHODS) % parts and not of.methods:
                score_together(results, title, seed)


def score_together(results: RatesAndScores, title: str, seed: int) -> None:
    """Train `MEMBERS` models that differ in head, order and dropout; score what is made of them."""
    of = SETS[title]
    rate = results.rate(of, "plain")
    assert rate is not None
    if all(results.has_score(title, name, seed, rate) for name in TOGETHER):
        return
    with TemporaryDirectory() as folder:
        members = [Path(folder) / f"member-{number}" for number in range(MEMBERS)]
        for number, member in enumerate(members):
            config = configured("plain", of, rate, RATES_SEED * (number + 1) + seed, member)
            assert config is not None
            train(config, of, seed)
        soup(members, Path(folder) / "soup")
        student = configured("plain", of, rate, seed, Path(folder) / "student")
        assert student is not None
        student = replace(student, distillation=DistillationOptions(teacher=tuple(members)))
        train(student, of, seed)
        together = members, Path(folder) / "soup", Path(folder) / "student"
        found = [score_of(folders, of, "test") for folders in together]
    for name, scores in zip(TOGETHER, found, strict=True):
        (monitor, score), *_ = scores.items()
        results.add("score", title, name, seed, score=score, monitor=monitor, rate=rate)


def measure_costs(results: RatesAndScores, rounds: int) -> None:
    """Measure each method in a process of its own, methods in turns."""
    for number in range(rounds):
        for name in METHODS:
            if name == "self-training":  # its stages are runs of plain fine-tuning
                continue
            if ("cost", name, number) not in results.found:
                here = [sys.executable, __file__, "one", "--method", name]
                done = subprocess.run(here, check=True, capture_output=True, text=True)
                results.add("cost", name, number, **json.loads(done.stdout.splitlines()[-1]))


def one_cost(name: str) -> dict[str, float]:
    """Return seconds a step, peak memory, trained parameters and saved bytes of a method."""
    torch.set_num_threads(1)
    of = SETS["TREC, 500"]
    with TemporaryDirectory() as folder:
        config = configured(name, of, 1e-4, 0, Path(folder) / "run")
        assert config is not None
        config = replace(config, epochs=config.epochs * COST_STEPS / of.steps)
        examples = drawn(of, 0)
        task = config.kind.fit(config, examples)
        trained = num_trained(build(task, config), config)
        outcome = finetune_on(task, examples, [], config, {}, quiet=True)
        assert outcome.result is not None
        size = sum(file.stat().st_size for file in config.out.glob("*.safetensors"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = outcome.result.seconds / outcome.result.steps
    return {"seconds": seconds, "peak_mib": peak, "bytes": size, "trained": trained}


def num_trained(model: PretrainedModel, config: FinetuneConfig) -> int:
    """Count the parameters that training changes."""
    multiplier = layer_multipliers(model, config.layer_decay, False, config.freeze_layers)
    named = model.named_parameters()
    return sum(p.numel() for name, p in named if p.requires_grad and multiplier(name))


def part_of(text: str) -> tuple[int, int]:
    """Read a part such as 2/4; raise `ValueError` for any other text."""
    part, parts = map(int, text.split("/"))
    if not 1 <= part <= parts:
        raise ValueError
    return part, parts


def main() -> None:
    """Run what the command line says, and append each result to the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rates", "scores", "costs", "one"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=list(METHODS), default="plain")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--part", default="1/1", type=part_of, help="this part of so many: 2/4")
    parser.add_argument("--out", type=RatesAndScores, default=str(OUT))
    options = parser.parse_args()
    keep_memory()  # as the command line does
    if options.what == "one":
        print(json.dumps(one_cost(options.method)))
        return
    results = options.out
    part, parts = options.part
    if options.what == "rates":
        for title in options.sets:
            choose_rates(results, title, list(SETS[title].methods or METHODS)[part - 1 :: parts])
    if options.what == "scores":
        score_all(results, options.sets, options.seeds, part - 1, parts)
    if options.what == "costs":
        measure_costs(results, options.rounds)


if __name__ == "__main__":
    main()
