"""Measure the peak memory of training steps, ours and `transformers`', in fresh processes.

    python benchmarks/memory.py --material runs/bench [--workloads mlm finetune] [--device cuda]

The figure is the peak over two rounds of steps, minus the memory after all imports and the making
of the batches: weights, gradients, optimizer state and activations. On a CPU it is the peak of
resident memory (VmHWM of Linux, reset before); on a GPU the peak of torch's allocator. Medians of
three processes, in turns.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch
from workloads import WORKLOADS, Case, open_case

TRIES = 3
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(case: Case, contender: str, size: float, threads: int) -> int:
    """Return the median bytes of fresh processes; 0 where the system does not report them."""
    if case.device.type == "cpu" and not STATUS.exists():
        return 0
    one = {
        "workload": case.name,
        "contender": contender,
        "material": str(case.material),
        "device": case.device.type,
        "precision": case.precision,
        "size": size,
        "threads": threads,
    }
    command = [sys.executable, __file__, "--one", json.dumps(one)]
    done = [
        subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(TRIES)
    ]
    return int(median(int(each.stdout.split()[-1]) for each in done))


def measure(
    workload: str,
    contender: str,
    material: str,
    device: str,
    precision: str,
    size: float,
    threads: int,
) -> int:
    """Measure the bytes in this process."""
    import transformers
    from training_contenders import TRAIN

    # Late imports would count for one side only.
    assert transformers.BertForMaskedLM
    assert transformers.BertForSequenceClassification
    torch.set_num_threads(threads)
    case = open_case(workload, Path(material), torch.device(device), precision, size)
    inputs = case.inputs
    if device == "cpu":
        RESET.write_text("5")
    before = resident("VmRSS")
    step = TRAIN[contender](case)
    for batch in [*inputs, *inputs]:
        step(batch)
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """Return the resident bytes of this process (VmRSS), or their peak (VmHWM)."""
    if not STATUS.exists():
        return 0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def main() -> None:
    """Print the table, or the number of one contender."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--material", type=Path, default=Path("runs/bench"))
    training = [name for name, work in WORKLOADS.items() if work.is_training]
    parser.add_argument("--workloads", nargs="*", choices=training, default=["mlm", "finetune"])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--size", type=float, default=1.0)
    options = parser.parse_args()
    if options.one:
        print(measure(**json.loads(options.one)))
        return
    for name in options.workloads:
        device = torch.device(options.device)
        case = open_case(name, options.material, device, options.precision, options.size)
        weights = sum(path.stat().st_size for path in case.folder.glob("*.safetensors"))
        print(f"{name}: {case.workload.title}, {case.workload.texts} texts of "
              f"{case.workload.mean} tokens; weights alone {weights / 2**20:,.0f} MiB")  # fmt: skip
        for contender in ("plainformer", "transformers sdpa", "transformers eager"):
            found = peak_memory(case, contender, options.size, torch.get_num_threads())
            print(f"  {contender:<24} {found / 2**20:8,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
