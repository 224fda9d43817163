"""Compare how fast encoders learn, by the rules of SPEEDRUN.md.

    python benchmarks/speedrun.py run runs/ttl ENTRY.py --seeds 5
    python benchmarks/speedrun.py time runs/ttl ENTRY.py      on a quiet machine
    python benchmarks/speedrun.py check runs/ttl ENTRY.py     prints the record, or what is missing
    python benchmarks/speedrun.py table                       of results/speedrun.jsonl

An entry is a Python file with a class `Entry`. `Entry(material, seed)` builds the model, `step(i)`
takes each of its `steps`, and `logits` scores the vocabulary at hidden positions of the held-out
text. The loss is computed here, from these logits. `speedrun_entries/recipe.py` is the baseline.
"""

import argparse
import hashlib
import importlib.util
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from time_to_loss import Material
from torch import Tensor, nn

from plainformer.base import UserError, write_json
from plainformer.encoder import Sequences
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.corpus import read_shards

TARGET = 5.4
"""The held-out loss to reach, in nats a token."""
SIGNIFICANCE = 0.01
"""The mean loss is at most the target with p below this, in a one-sided t-test over the seeds."""
FIXED = {
    "tokenizer": "48a38511d4afccab",
    "train": "678ef53c56ec0857",
    "held-out": "9cc7be8e78b559d2",
}
"""The first 16 digits of SHA-256 of what all entries share."""
HERE = Path(__file__).parent
BASELINE = HERE / "speedrun_entries" / "recipe.py"
RECORDS = HERE / "results" / "speedrun.jsonl"
HEAD = """| entry | time, of the baseline's | seconds | loss | seeds | p | commit |
|-------|-----------------:|--------:|-----:|------:|--:|--------|
"""


@dataclass(frozen=True)
class HiddenText:
    """A packed held-out batch without its labels."""

    input_ids: Int[Tensor, " tokens"]
    sequences: Sequences
    target_positions: Int[Tensor, " targets"]


class Run(Protocol):
    """A model in training: what the class `Entry` of an entry builds."""

    steps: int

    def step(self, step: int) -> None:
        """Take step `step`, from 0."""

    def logits(self, text: HiddenText) -> Float[Tensor, "targets vocabulary"]:
        """Score the vocabulary at the hidden positions, in evaluation mode."""


def start(entry: Path, material: Material, seed: int) -> Run:
    """Build the model of an entry."""
    spec = importlib.util.spec_from_file_location(f"entry_{entry.stem}", entry)
    if not entry.is_file() or spec is None or spec.loader is None:
        raise UserError(f"{entry} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Run = module.Entry(material, seed)
    return run


def fingerprints(material: Material, held_out: Sequence[MaskedBatch]) -> dict[str, str]:
    """Compute what `FIXED` must be."""
    shards = read_shards(material.folder / "tokens", material.tokenizer, "train")
    hidden = [x for b in held_out for x in (b.input_ids, b.target_positions, b.labels)]
    return {
        "tokenizer": material.tokenizer.fingerprint(),
        "train": digest(shard.ids for shard in shards),
        "held-out": digest(x.numpy() for x in hidden),
    }


def digest(arrays: Iterable[np.ndarray]) -> str:
    """Compute a hash of some arrays of ids, one after the other."""
    ids = (array.astype("<i4").tobytes() for array in arrays)
    return hashlib.sha256(b"".join(ids)).hexdigest()[:16]


def fixed_text(folder: Path) -> tuple[Material, list[MaskedBatch]]:
    """Open the prepared text. Raise UserError where it is not the text of the rules."""
    material = Material(folder)
    held_out = material.held_out()
    for name, found in fingerprints(material, held_out).items():
        if found != FIXED[name]:
            raise UserError(
                f"{folder}: {name} is {found}, not {FIXED[name]}: see “The text” in SPEEDRUN.md"
            )
    return material, held_out


@torch.no_grad()
def held_out_loss(run: Run, batches: Sequence[MaskedBatch]) -> float:
    """Compute the mean loss of the hidden tokens, in nats."""
    total = count = 0.0
    for batch in batches:
        logits = run.logits(HiddenText(batch.input_ids, batch.sequences, batch.target_positions))
        total += float(nn.functional.cross_entropy(logits.double(), batch.labels, reduction="sum"))
        count += len(batch.labels)
    return total / count


def probability(losses: Sequence[float], target: float) -> float:
    """Compute p of a one-sided t-test: of such losses, were their true mean above the target."""
    if len(losses) < 2:
        return 1.0
    return float(stats.ttest_1samp(losses, target, alternative="less").pvalue)


def read(folder: Path, entry: Path) -> dict[str, dict[str, float]]:
    """Read an entry's losses by seed, and its seconds; empty before they are measured."""
    path = folder / "speedrun" / f"{entry.stem}.json"
    return json.loads(path.read_text()) if path.exists() else {"losses": {}, "seconds": {}}


def write(folder: Path, entry: Path, found: dict[str, dict[str, float]]) -> None:
    """Keep what was measured of an entry."""
    (folder / "speedrun").mkdir(exist_ok=True)
    write_json(folder / "speedrun" / f"{entry.stem}.json", found)


def train(folder: Path, entry: Path, seeds: int) -> None:
    """Train an entry with each seed that is not done yet, and keep its loss."""
    material, held_out = fixed_text(folder)
    found = read(folder, entry)
    for seed in range(seeds):
        if str(seed) in found["losses"]:
            continue
        run = start(entry, material, seed)
        for step in range(run.steps):
            run.step(step)
        found["losses"][str(seed)] = held_out_loss(run, held_out)
        print(f"seed {seed}: {found['losses'][str(seed)]:.4f} after {run.steps} steps", flush=True)
        write(folder, entry, found)


def clock(folder: Path, entry: Path) -> None:
    """Time a whole run of an entry and one of the baseline, step by step in turns."""
    torch.set_num_threads(2)
    material, _ = fixed_text(folder)
    runs: list[Run] = []
    seconds = []
    for path in (entry, BASELINE):
        begin = perf_counter()
        runs.append(start(path, material, seed=0))
        seconds.append(perf_counter() - begin)
    done = [0, 0]
    while any(taken < run.steps for taken, run in zip(done, runs, strict=True)):
        number = min((0, 1), key=lambda i: done[i] / runs[i].steps)  # the one that is behind
        begin = perf_counter()
        runs[number].step(done[number])
        seconds[number] += perf_counter() - begin
        done[number] += 1
    timed = {"entry": seconds[0], "baseline": seconds[1]}
    write(folder, entry, read(folder, entry) | {"seconds": timed})
    print(f"{seconds[0]:.1f} s; the baseline {seconds[1]:.1f} s")


def check(folder: Path, entry: Path) -> dict[str, object]:
    """Return the record of an entry. Raise UserError where it does not meet the rules."""
    found = read(folder, entry)
    losses, seconds = list(found["losses"].values()), found["seconds"]
    p = probability(losses, TARGET)
    if not p < SIGNIFICANCE:
        shown = ", ".join(f"{loss:.3f}" for loss in losses) or "none yet"
        raise UserError(
            f"{entry.stem}: p is {p:.2g} for losses at most {TARGET} ({shown}): more seeds may help"
        )
    if not seconds:
        raise UserError(f"{entry.stem}: it is not timed yet (speedrun.py time)")
    return {
        "entry": entry.stem,
        "ratio": round(seconds["entry"] / seconds["baseline"], 3),
        "seconds": round(seconds["entry"], 1),
        "baseline seconds": round(seconds["baseline"], 1),
        "loss": round(mean(losses), 4),
        "deviation": round(stdev(losses), 4),
        "seeds": len(losses),
        "p": float(f"{p:.2g}"),
        "commit": commit(),
    }


def commit() -> str:
    """Return the commit of this repository. Raise UserError for uncommitted changes."""
    if git("status", "--porcelain"):
        raise UserError("there are changes that no commit has: commit them first")
    return git("rev-parse", "--short=12", "HEAD")


def git(*command: str) -> str:
    """Return what a git command prints about this repository."""
    run = ["git", "-C", str(HERE), *command]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()


def table(records: Path) -> str:
    """Format the records, fastest first."""
    kept = records.read_text(encoding="utf-8").splitlines() if records.exists() else []
    rows = [json.loads(line) for line in kept]
    lines = [
        f"| [{row['entry']}](speedrun_entries/{row['entry']}.py) | {row['ratio']:.3f} "
        f"| {row['seconds']:.1f} | {row['loss']:.3f} ± {row['deviation']:.3f} | {row['seeds']} "
        f"| {row['p']:.1g} | {row['commit']} |"
        for row in sorted(rows, key=lambda row: row["ratio"])
    ]
    return HEAD + "\n".join(lines)


def main() -> None:
    """Run the chosen command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "time", "check", "table"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("entry", type=Path, nargs="?", default=BASELINE)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    folder, entry = options.folder, options.entry
    if options.what != "table":
        if folder is None or not (folder / "tokens").is_dir():
            parser.error(f"no prepared text in {folder}: run time_to_loss.py prepare FOLDER first")
        if not entry.is_file():
            parser.error(f"there is no entry {entry}")
    try:
        match options.what:
            case "run":
                train(folder, entry, options.seeds)
            case "time":
                clock(folder, entry)
            case "check":
                print(json.dumps(check(folder, entry)))
            case "table":
                print(table(RECORDS))
    except UserError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
