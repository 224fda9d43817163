"""Time whole processes of a command, from start to end, in turns.

    python benchmarks/startup.py --material runs/bench [--rounds 9]

`plainformer predict` on one text (MiniLM with a classifier) is compared with the bare minimum,
`import torch` and reading the weights, and with the pipeline of transformers on the same folder.
The first round warms up the page cache and does not count.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from workloads import WORKLOADS, prepare

READ = """
import sys, torch
from safetensors.torch import load_file
for tensor in load_file(sys.argv[1] + "/model.safetensors").values():
    tensor.clone()
"""
PIPELINE = """
import sys, transformers
transformers.logging.disable_progress_bar()
print(transformers.pipeline("text-classification", sys.argv[1])(sys.argv[2]))
"""
TEXT = "How long does it take to say a word?"


def commands(folder: str) -> dict[str, list[str]]:
    """Return the commands by name."""
    ours = ["-m", "plainformer"]
    return {
        "python": ["-c", "pass"],
        "import torch": ["-c", "import torch"],
        "import torch, read the weights": ["-c", READ, folder],
        "plainformer --help": [*ours, "--help"],
        "plainformer predict": [*ours, "predict", folder, "--text", TEXT],
        "transformers pipeline": ["-c", PIPELINE, folder, TEXT],
    }


def main() -> None:
    """Time every command, and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--material", type=Path, default=Path("runs/bench"))
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    work = WORKLOADS["finetune"]
    prepare(options.material, work)
    folder = options.material / work.model
    seconds: dict[str, list[float]] = {}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for number in range(options.rounds + 1):
        for name, arguments in commands(str(folder)).items():
            begin = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], check=True, capture_output=True, env=environment
            )
            if number:
                seconds.setdefault(name, []).append(time.perf_counter() - begin)
    print(f"torch {torch.__version__}, medians of {options.rounds} rounds\n")
    for name, times in seconds.items():
        print(f"{name:<32}{median(times):6.2f} s   ({min(times):.2f} – {max(times):.2f})")
    least, took = seconds["import torch, read the weights"], seconds["plainformer predict"]
    over = median(b - a for a, b in zip(least, took, strict=True))
    print(f"\nplainformer predict takes {over:.2f} s more than import and reading")


if __name__ == "__main__":
    main()
