"""Compare the speed of plainformer with its alternatives, in one interleaved run.

    make bench                                             all workloads, on the CPU
    python benchmarks/speed.py --material runs/bench [--workloads short mlm …] [--device cuda]
                               [--precision bf16] [--rounds 5] [--threads 2] [--memory]
                               [--contenders "ONNX Runtime, sorted" …]

`workloads.py` defines the workloads with their texts and models; the contenders are in
`embedding_contenders.py`, `openvino_contenders.py`, `tokenizer_contenders.py` and
`training_contenders.py`. Missing files of `--material` are fetched or made first; after that no
network is needed. For each workload

1. every contender loads the same weights and runs the whole workload twice, as a warm-up. A
   contender whose first results differ from plainformer's is left out: unit vectors to 1e-4 in each
   number (bf16: 0.005), losses to a thousandth (bf16: a fiftieth), ids and offsets exactly; in int8
   Spearman on STS-B within half a point of fp32;
2. the contenders take turns for `--rounds` rounds, each round started by another one; `×` is the
   speed-up of plainformer, the ratio of the two times in each round;
3. medians and quartiles are printed, and where texts have given lengths (`lengths`) median and
   95th percentile of the calls of each. Padding does not count as tokens. "Of peak" is the ratio of
   the operations of the real tokens (`encoder/flops.py`) to the machine's matrix-multiply peak,
   measured in the same number format before and after the rounds.

A contender that fails, or whose package is missing, is left out with a note, except ours. With
`--memory` each training contender runs once more, in fresh processes, for its peak (`memory.py`).
`--out FILE.json` (by default benchmarks/results/speed-DEVICE.json) receives all times, versions,
machine, command and date; FILE.md is the table and FILE.png the plot. Workloads that were not run
keep their earlier figures in FILE.json.
"""

import argparse
import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import embedding_contenders
import exported_contenders
import numpy as np
import openvino_contenders
import tokenizer_contenders
import torch
import training_contenders
from machine import peaks, surroundings
from memory import peak_memory
from report import conditions, table, write
from scipy.stats import spearmanr
from turns import by_length, spread, take_turns
from workloads import WORKLOADS, Case, Kind, open_case, read_pairs

OURS = "plainformer"
SIDES: Mapping[Kind, Mapping[str, Callable[[Case], Callable[[Any], Any]]]] = {
    "embed": {
        **embedding_contenders.EMBED,
        **openvino_contenders.EMBED,
        **exported_contenders.EMBED,
    },
    "int8": {
        **embedding_contenders.INT8,
        **openvino_contenders.INT8,
        **exported_contenders.INT8,
    },
    "mlm": training_contenders.TRAIN,
    "classify": training_contenders.TRAIN,
    "tokenise": tokenizer_contenders.TOKENISE,
    "load": embedding_contenders.LOAD,
}
SPEARMAN_LOSS = 0.005


class Differs(Exception):
    """The error of a contender with other results than ours."""


def outputs(call: Callable[[Any], Any], case: Case) -> list[Any]:
    """Return the results of a contender for the whole workload."""
    return [call(some) for some in case.inputs]


def check(found: list[Any], wanted: list[Any], case: Case) -> float:
    """Return the largest difference; raise `Differs` if it is too large."""
    kind, is_half = case.workload.kind, case.precision == "bf16"
    if kind == "tokenise":
        if found != wanted:
            raise Differs("its ids or offsets differ")
        return 0.0
    a, b = np.concatenate(found), np.concatenate(wanted)
    gap = np.abs(a - b) / (np.abs(b) if case.workload.is_training else 1.0)
    exact, rough = (1e-3, 2e-2) if case.workload.is_training else (1e-4, 5e-3)
    allowed = rough if is_half else exact
    if not gap.max() <= allowed:
        raise Differs(f"it differs by {gap.max():.1e}, more than {allowed:.0e}")
    return float(gap.max())


def spearman(call: Callable[[Any], Any], case: Case) -> float:
    """Return Spearman's correlation of cosines with the human scores of STS-B."""
    rows = read_pairs(case.material)
    first, second = (call([row[side] for row in rows]) for side in ("text", "pair"))
    cosines = np.einsum("ij,ij->i", first, second)
    return float(spearmanr(cosines, [float(row["score"]) for row in rows]).statistic)


def prepare_contenders(
    case: Case, chosen: list[str]
) -> tuple[dict[str, Callable[[Any], Any]], dict[str, dict[str, Any]]]:
    """Prepare ours and the `chosen` contenders (by default all), and compare their results.

    Returns the equal contenders, and notes on each.
    """
    ready: dict[str, Callable[[Any], Any]] = {}
    notes: dict[str, dict[str, Any]] = {}
    wanted: list[Any] = []
    best = 0.0
    sides = {
        name: make
        for name, make in SIDES[case.workload.kind].items()
        if not chosen or name in (OURS, *chosen)
    }
    for name in sorted(sides, key=lambda name: name != OURS):  # ours in fp32 is the reference
        notes[name] = {}
        try:
            call = sides[name](case)
            found = outputs(call, case)
            if case.workload.kind == "int8":
                notes[name]["spearman"] = score = spearman(call, case)
                best = best or score
                wanted = wanted or found  # of fp32
                cosines = np.einsum("ij,ij->i", np.concatenate(found), np.concatenate(wanted))
                notes[name]["lowest_cosine"] = float(cosines.min())
                if score < best - SPEARMAN_LOSS:
                    raise Differs(f"Spearman {score:.4f} is below {best:.4f} of fp32")
            else:
                wanted = wanted or found
                notes[name]["difference"] = check(found, wanted, case)
            outputs(call, case)
            ready[name] = call
        except Exception as error:
            if name == OURS:
                raise
            lines = str(error).strip().splitlines() or [""]
            notes[name]["left_out"] = f"{type(error).__name__}: {lines[0][:160]}"
            print(f"  {name} is left out: {notes[name]['left_out']}", flush=True)
    return ready, notes


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one workload; return all its figures."""
    work, lengths = case.workload, [len(row) for row in case.ids]
    ready, notes = prepare_contenders(case, options.contenders)
    before = peaks(case.device, case.dtype)
    seconds, calls = take_turns(ready, case, options.rounds)
    peak, torch_peak = map(max, before, peaks(case.device, case.dtype))
    int8 = f"{OURS}, int8"
    ours = np.array(seconds[int8 if int8 in seconds else OURS])
    found: dict[str, dict[str, Any]] = {}
    for name, note in notes.items():
        found[name] = note
        if name not in seconds:
            continue
        times = np.array(seconds[name])
        found[name] |= {
            "seconds": seconds[name],
            "tokens_per_second": spread(case.tokens / times),
            "milliseconds_per_call": spread(1e3 * times / work.calls),
            "ours_is_faster": spread(times / ours),
        }
        if work.lengths:
            found[name]["by_length"] = by_length(calls[name], calls[OURS], case)
        if work.kind in ("embed", "mlm", "classify"):
            found[name]["of_peak"] = float(case.flops / np.median(times) / peak)
        if options.memory and work.is_training:
            found[name]["peak_bytes"] = peak_memory(case, name, options.size, options.threads)
    return {
        **asdict(work),
        "tokens": case.tokens,
        "flops": case.flops,
        "peak_flops": peak,
        "torch_mm_flops": torch_peak,
        "mean_length": float(np.mean(lengths)),
        "longest_length": max(lengths),
        "contenders": found,
    }


def quieten() -> None:
    """Turn off progress bars and warnings of transformers."""
    if importlib.util.find_spec("transformers"):
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")


def main() -> None:
    """Measure all workloads, and write figures, table and plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--material", type=Path, default=Path("runs/bench"))
    parser.add_argument("--workloads", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS))
    names = sorted({name for sides in SIDES.values() for name in sides})
    parser.add_argument("--contenders", nargs="*", choices=names, default=[], metavar="NAME")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: as many as there are cores")
    parser.add_argument("--size", type=float, default=1.0, help="a factor for the number of texts")
    parser.add_argument("--memory", action="store_true", help="peak memory of training, too")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    options.threads = options.threads or torch.get_num_threads()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    out = options.out or Path(__file__).parent / "results" / f"speed-{device.type}.json"
    run = {**surroundings(device), "precision": options.precision, "rounds": options.rounds}
    report = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    quieten()
    print("\n".join(conditions(run)), flush=True)
    for name in options.workloads:
        print(f"\n{name}: {WORKLOADS[name].title}", flush=True)
        case = open_case(name, options.material, device, options.precision, options.size)
        report[name] = {**measure(case, options), "run": run}
        print(table(report[name]), flush=True)
        write(report, out)
    print(f"\n{out} has all figures; the table and the plot are beside it")


if __name__ == "__main__":
    main()
