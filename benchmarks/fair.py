"""Compare ways of training that serve groups alike, where a group betrays the label.

    python benchmarks/fair.py scores [--model minilm] [--seeds 5]    trains with each method
    python benchmarks/fair.py costs [--model minilm] [--rounds 3]    measures CPU time and memory
    python benchmarks/fair.py table [--model minilm]                 prints the table

The shortcut is planted: film reviews (`movie-sentiment`), each of one of two sources, which is its
group and stands before the text as a word, "web :" or "print :". Of the training texts 8 in 10
positive ones come from the web, and 8 in 10 negative ones from print; of the test texts every
second one, whatever its label. A model that reads the word gets 8 in 10 training texts right, and
in the test the positive texts from print and the negative ones from the web wrong.

All start from one model and take the same steps, without selecting weights. A seed draws the
training texts and their sources, the head, the order and the dropout, the same for all methods, so
that differences are paired. Scores are those of the first test texts: accuracy; that of the worst
of the four cells of source and label; and the equalised-odds gap, the largest difference between
the sources in the share of texts of a label that get it. Costs: CPU seconds of 60 steps,
in a process of its own on one thread, methods in turns; and its peak memory.

Every line of `--out` is one result. What is there is not run again, so all can be stopped.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from results_file import Results
from scipy.stats import ttest_rel

from plainformer.base import find_folder
from plainformer.corpora import fetch
from plainformer.finetune import FairOptions, FinetuneConfig, Predictor, finetune
from plainformer.training import LoopConfig

OUT = Path(__file__).parent / "results" / "fair.jsonl"
EXAMPLES, BATCH, EPOCHS, TEST_EXAMPLES = 1000, 16, 3.0, 500
AGREE = 0.8
RATES = {"minilm": 3e-4, "splade": 1e-3}
"""The models, with the learning rate of each."""
SCORES = ("accuracy", "worst cell", "odds gap")
WARM_UP, COST_STEPS = 2, 60
METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "re-weighting": {"group_reweight": True},
    "group DRO, 0.01": {"group_dro": 0.01},
    "group DRO, 0.1": {"group_dro": 0.1},
    "adversarial, 1": {"group_adversarial": 1.0},
    "re-weighting, adversarial": {"group_reweight": True, "group_adversarial": 1.0},
}
Rows = list[dict[str, str]]


def planted(part: str, agree: float, seed: int) -> Rows:
    """Return the rows of a part in the order of the seed, with a source that agrees so often."""
    lines = (fetch("movie-sentiment") / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    rng, found = random.Random(seed), []
    for row in rng.sample([json.loads(line) for line in lines], len(lines)):
        is_web = (row["label"] == "positive") == (rng.random() < agree)
        source = "web" if is_web else "print"
        text = f"{source} : {row['text']}"
        found.append({"text": text, "label": row["label"], "source": source})
    return found


def write(path: Path, rows: Rows) -> str:
    """Write rows to a file, and return its name."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def configured(model: str, name: str, seed: int, folder: Path) -> FinetuneConfig:
    """Return the configuration of one run, whose files are in `folder`."""
    return FinetuneConfig(
        model=find_folder(model),
        train=write(folder / "train.jsonl", planted("train", AGREE, seed)[:EXAMPLES]),
        valid=write(folder / "valid.jsonl", planted("valid", 0.5, 0)[:BATCH]),
        out=folder / "run",
        epochs=EPOCHS,
        batch_size=BATCH,
        max_length=64,
        select=False,
        fair=FairOptions(group="source", **METHODS[name]),
        training=LoopConfig(
            learning_rate=RATES[model],
            eval_every=10**6,
            checkpoint_every=0,
            seed=seed,
            device="cpu",
        ),
    )


def scores_of(rows: Rows, said: list[str]) -> dict[str, float]:
    """Compute the scores of the predicted labels."""
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row, label in zip(rows, said, strict=True):
        right[row["source"], row["label"]].append(label == row["label"])
    cells = {cell: mean(found) for cell, found in right.items()}
    labels = {label for _, label in cells}
    gap = max(abs(cells["web", label] - cells["print", label]) for label in labels)
    whole = mean(one for found in right.values() for one in found)
    return dict(zip(SCORES, (whole, min(cells.values()), gap), strict=True))


class ByMethod(Results):
    """The results, by method."""

    def of(self, *first: str) -> dict[int, dict[str, float]]:
        """Return the results of a kind, a model and a method, by seed or round."""
        return {key[3]: line for key, line in self.found.items() if key[:3] == first}


def score_all(results: ByMethod, model: str, seeds: int) -> None:
    """Train with each method, seed by seed."""
    torch.set_num_threads(1)
    test = planted("test", 0.5, 0)[:TEST_EXAMPLES]
    for seed, name in product(range(seeds), METHODS):
        if ("score", model, name, seed) in results.found:
            continue
        with TemporaryDirectory() as folder:
            config = configured(model, name, seed, Path(folder))
            finetune(config, quiet=True)
            said = Predictor.load(config.out)([row["text"] for row in test])
        results.add("score", model, name, seed, **scores_of(test, [one.label for one in said]))


def measure_costs(results: ByMethod, model: str, rounds: int) -> None:
    """Measure each method in a process of its own, methods in turns."""
    for number, name in product(range(rounds), METHODS):
        if ("cost", model, name, number) not in results.found:
            here = [sys.executable, __file__, "one", "--model", model, "--method", name]
            done = subprocess.run(here, check=True, capture_output=True, text=True)
            results.add("cost", model, name, number, **json.loads(done.stdout.splitlines()[-1]))


def one_cost(model: str, name: str) -> dict[str, float]:
    """Return CPU seconds a step, and peak memory, of a method."""
    torch.set_num_threads(1)
    spent = []
    for steps in (WARM_UP, WARM_UP, WARM_UP + COST_STEPS):  # the first run also imports
        with TemporaryDirectory() as folder:
            config = configured(model, name, 0, Path(folder))
            began = time.process_time()
            finetune(replace(config, epochs=steps * BATCH / EXAMPLES), quiet=True)
            spent.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": (spent[2] - spent[1]) / COST_STEPS, "peak_mib": peak}


def table(results: ByMethod, model: str) -> None:
    """Print a row for each method: costs, and scores with their differences to plain training."""
    print(f"| {'':30} | ms of CPU a step | peak MiB | {' | '.join(SCORES)} |")
    print("| --- |" + " ---: |" * (2 + len(SCORES)))
    plain = results.of("score", model, "plain")
    for name in METHODS:
        costs = results.of("cost", model, name).values()
        scores = results.of("score", model, name)
        cells = ["", ""]
        if costs:
            cells = [f"{1000 * median(c['seconds'] for c in costs):.0f}"]
            cells.append(f"{median(c['peak_mib'] for c in costs):,.0f}")
        seeds = sorted(plain.keys() & scores.keys())
        for score in SCORES if len(seeds) > 1 else ():
            ours = [100 * scores[seed][score] for seed in seeds]
            theirs = [100 * plain[seed][score] for seed in seeds]
            cell = f"{mean(ours):.1f} ± {stdev(ours):.1f}"
            if name != "plain":
                found = float(ttest_rel(ours, theirs).pvalue)
                cell += f" ({mean(ours) - mean(theirs):+.1f}, p {found:.2f})"
            cells.append(cell)
        print(f"| {name:30} | {' | '.join(cells)} |")
    size = f"{EXAMPLES} texts, batches of {BATCH}, {EPOCHS:g} epochs"
    print(f"\n{model}, {len(plain)} seeds, {size}; scores in percent")


def main() -> None:
    """Run what the command line says, and append each result to the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["scores", "costs", "table", "one"])
    parser.add_argument("--model", choices=list(RATES), default="minilm")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=list(METHODS), default="plain")
    parser.add_argument("--out", type=ByMethod, default=str(OUT))
    options = parser.parse_args()
    if options.what == "one":
        print(json.dumps(one_cost(options.model, options.method)))
        return
    results = options.out
    if options.what == "scores":
        score_all(results, options.model, options.seeds)
    if options.what == "costs":
        measure_costs(results, options.model, options.rounds)
    table(results, options.model)


if __name__ == "__main__":
    main()
