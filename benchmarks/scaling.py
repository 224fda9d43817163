"""Measure how time and memory of a training step grow with length, depth, width and batch.

    python benchmarks/scaling.py [--device cuda --precision bf16] [--repeats 7] [--out FILE.json]

The step is MLM with a BERT of 4 layers × 256, 8k vocabulary, and 16 texts of 128 tokens; one of the
four sizes is changed at a time. Each point is measured in a separate process, in random order, and
compared with a count:

    time      3 · forward FLOPs (`encoder/flops.py`) / the device's measured matrix-multiply peak:
              a lower bound
    memory    4 N · 4 bytes for the N weights, their gradients and AdamW's two moments, and the
              activations kept for the backward pass, in numbers of 4 bytes (2 in bf16):
              each layer     tokens · (8 h + 2 i)      its input, q, k, v, heads, two inputs of
                                                       norms and one output, and both sides of GELU
              head           masked · (4 h + 2 v)      the logits and their gradient

where h, i and v are the hidden, intermediate and vocabulary sizes. The libraries' own memory, some
tens of MiB on a CPU, is not counted. The figures are written to FILE.json, one line per point, with
a plot beside it: both axes are logarithmic, so that powers are straight lines.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import peaks
from memory import RESET, resident

from plainformer.base import atomic_path, write_json
from plainformer.encoder import EncoderConfig, MaskedLM, Sequences
from plainformer.encoder.flops import masked_lm_flops
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives import masked_lm
from plainformer.training import TrainingConfig
from plainformer.training.device import number_format
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.peak import synchronize
from plainformer.training.step import take_step

HEAD_SIZE, VOCABULARY, ASKED = 64, 8192, 0.15


@dataclass(frozen=True)
class Point:
    """The sizes of model and batch."""

    length: int = 128
    depth: int = 4
    width: int = 256
    batch: int = 16

    @property
    def config(self) -> EncoderConfig:
        """Return the configuration of the model, without dropout."""
        shape = EncoderConfig.preset(
            "bert-mini",
            vocab_size=VOCABULARY,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.width // HEAD_SIZE,
            intermediate_size=4 * self.width,
            max_position_embeddings=self.length,
        )
        return shape.with_dropout(0.0)

    @property
    def sequences(self) -> Sequences:
        """Return the sequences, all of one length."""
        return Sequences.of([self.length] * self.batch)

    @property
    def masked(self) -> int:
        """Return the number of masked tokens."""
        return round(ASKED * self.length * self.batch)

    @property
    def flops(self) -> int:
        """Return the operations of a step."""
        return 3 * masked_lm_flops(self.config, self.sequences, self.masked)

    def bytes(self, weights: int, number: int) -> int:
        """Return the memory of a step by the count above, for activations of `number` bytes."""
        h, i = self.width, 4 * self.width
        layers = self.depth * self.length * self.batch * (8 * h + 2 * i)
        return 16 * weights + number * (layers + self.masked * (4 * h + 2 * VOCABULARY))


BASE = Point()
SWEEPS: dict[str, list[Point]] = {
    "length": [replace(BASE, length=n) for n in (32, 64, 128, 256, 512, 1024, 2048)],
    "depth": [replace(BASE, depth=n) for n in (1, 2, 4, 8, 16)],
    "width": [replace(BASE, width=n) for n in (64, 128, 256, 512, 1024)],
    "batch": [replace(BASE, batch=n) for n in (1, 4, 16, 64, 256)],
}


def measure(point: Point, device: torch.device, precision: Any, repeats: int) -> dict[str, float]:
    """Measure seconds and bytes of a step in this process."""
    if device.type == "cpu" and RESET.exists():
        RESET.write_text("5")
    before = resident("VmRSS")
    torch.manual_seed(0)
    model = MaskedLM(point.config).to(device).train()
    whole = ModelCall(model)
    config = TrainingConfig(device=str(device), precision=precision)
    optimizer = build_optimizer(model, config)
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(5, VOCABULARY, point.length * point.batch))
    at = torch.from_numpy(np.sort(rng.choice(len(ids), point.masked, replace=False)))

    times = []
    for step in range(repeats + 2):
        begin = time.perf_counter()
        batch = MaskedBatch(ids, point.sequences, at, ids[at])
        take_step(whole, masked_lm, lambda _, batch=batch: [batch], optimizer, config, step)
        synchronize(device)
        times.append(time.perf_counter() - begin)
    is_cuda = device.type == "cuda"
    taken = torch.cuda.max_memory_allocated() if is_cuda else resident("VmHWM") - before
    return {"seconds": median(times[2:]), "bytes": taken, "weights": model.num_parameters()}


def measure_apart(point: Point, options: argparse.Namespace) -> dict[str, float]:
    """Measure a step in a fresh process."""
    command = [sys.executable, __file__, "--one", json.dumps(asdict(point))]
    command += ["--device", options.device, "--precision", options.precision]
    command += ["--repeats", str(options.repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def draw(figures: Mapping[str, list[dict[str, Any]]], path: Path) -> None:
    """Plot time above and memory below, measured as dots and counted as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    rows = figure.subplots(2, len(figures), sharex="col", sharey="row", squeeze=False)
    for column, (sweep, points) in enumerate(figures.items()):
        x = [point[sweep] for point in points]
        for row, (measured, counted, unit) in enumerate(
            (("seconds", "least_seconds", 1e-3), ("bytes", "counted_bytes", 2**20))
        ):
            axes = rows[row, column]
            axes.loglog(x, [point[counted] / unit for point in points], color="#a0aec0")
            axes.loglog(x, [point[measured] / unit for point in points], "o", color="#2b6cb0")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25)
        rows[1, column].set_xlabel(sweep)
        rows[1, column].set_xticks(x, list(map(str, x)), fontsize=7)
        rows[1, column].minorticks_off()
    rows[0, 0].set_ylabel("ms a step")
    rows[1, 0].set_ylabel("MiB at the peak")
    rows[0, 0].legend(["by the count, at the peak", "measured"], frameon=False, fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def main() -> None:
    """Measure every point, print a table, and write figures and plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sweeps", nargs="*", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--largest", type=int, default=2048, help="leave out points above it")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.one:
        point = Point(**json.loads(options.one))
        print(json.dumps(measure(point, device, options.precision, options.repeats)))
        return
    out = options.out or Path(__file__).parent / "results" / f"scaling-{device.type}.json"
    sweeps = {
        name: [point for point in SWEEPS[name] if getattr(point, name) <= options.largest]
        for name in options.sweeps
    }
    points = sorted({point for sweep in sweeps.values() for point in sweep}, key=str)
    random.Random(0).shuffle(points)
    found = {point: measure_apart(point, options) for point in points}
    number_bytes = number_format(device, options.precision).itemsize
    peak, _ = peaks(device, number_format(device, options.precision))
    figures: dict[str, list[dict[str, Any]]] = {}
    for name, sweep in sweeps.items():
        print(f"{name:<8}   ms a step   by the count   MiB at the peak   by the count")
        for point in sweep:
            row = {
                **asdict(point),
                **found[point],
                "flops": point.flops,
                "least_seconds": point.flops / peak,
                "counted_bytes": point.bytes(int(found[point]["weights"]), number_bytes),
            }
            figures.setdefault(name, []).append(row)
            times = [1e3 * row[kind] for kind in ("seconds", "least_seconds")]
            sizes = [row[kind] / 2**20 for kind in ("bytes", "counted_bytes")]
            print(f"{row[name]:>8,}{times[0]:>12,.1f}{times[1]:>15,.1f}", end="")
            print(f"{sizes[0]:>18,.0f}{sizes[1]:>15,.0f}", flush=True)
    surroundings = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {**surroundings, "device": options.device, "peak_flops": peak, **figures})
    draw(figures, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
