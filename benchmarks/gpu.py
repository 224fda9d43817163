"""Check and measure training and inference on a GPU, in one command that can be continued.

    python benchmarks/gpu.py --out runs/gpu --minutes 9       needs a CUDA device; no network
    python benchmarks/gpu.py --out runs/gpu --minutes 5       goes on with the rows that are missing
    python benchmarks/gpu.py --out runs/gpu-trial --device cpu --size tiny       a trial anywhere

Rows are measured in order of importance, each only if the time left is enough for it:

    card          `gpu_card.py`: the peak of matrix products in each number format
    checks        `gpu_checks.py`, `gpu_attention_checks.py`, `gpu_training_checks.py`: the numbers
                  of every family, head, mask and precision, and of training, against references
    speed         `gpu_speed.py`: pretraining, fine-tuning and inference beside `transformers`
    pretraining   `gpu_pretraining.py`: held-out loss over minutes, before the least important rows

Utilisation is the ratio of the operations on real tokens (`encoder/flops.py`) to the measured peak,
and to the published one. `--out` receives gpu.json after each row, gpu.md, gpu.png and
pretraining.png; a row is run again when its entry in gpu.json is deleted. What the machine lacks is
left out with a note. A row that kills its process, or never ends, is noted, and the others still
run. The exit code is 1 when a check is wrong, or plainformer cannot do a work.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SECTIONS = ("card", "checks", "speed", "pretraining")
RUNNING = "running"
"""The file that names the row being measured."""
DEAD = 3
"""The exit code of a process that has lost its device."""


def parser() -> argparse.ArgumentParser:
    """Define the options."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--out", type=Path, default=HERE.parent / "runs" / "gpu")
    options.add_argument("--minutes", type=float, default=9.0, help="time for the whole command")
    options.add_argument("--device", default="cuda")
    options.add_argument("--size", choices=("full", "tiny"), default="full")
    options.add_argument("--sections", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    options.add_argument("--text", nargs="*", default=[], help="for pretraining: files, or a name")
    options.add_argument("--until", type=float, help=argparse.SUPPRESS)
    return options


def main() -> int:
    """Run `gpu_run.py`, and run it again when it dies, as long as time is left."""
    options = parser().parse_args()
    until = time.monotonic() + 60 * options.minutes
    running = options.out / RUNNING
    running.unlink(missing_ok=True)  # of a command that was stopped: its row is run again
    # A clone need not be installed. The workspace makes matrix products repeatable, for resume.
    paths = [str(HERE.parent), str(HERE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
    python = [sys.executable]
    command = [*python, str(HERE / "gpu_run.py"), *sys.argv[1:], "--until", str(until)]
    while True:
        try:
            left = max(1.0, until - time.monotonic())
            code = subprocess.run(command, env=environment, timeout=left).returncode
        except subprocess.TimeoutExpired:  # the row under way is run again by the next command
            running.unlink(missing_ok=True)
            draw = [*python, str(HERE / "gpu_report.py"), str(options.out)]
            return subprocess.run(draw, env=environment).returncode
        if code != DEAD and not running.exists():
            return code


if __name__ == "__main__":
    sys.exit(main())
