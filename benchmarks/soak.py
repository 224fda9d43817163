"""Check that a run that is killed and resumed many times ends like an undisturbed one.

    python benchmarks/soak.py [--kills 50] [--processes 1] [--seed 0] [--out DIR]

A small model is pretrained twice on synthetic text: once undisturbed, and once killed at random
moments (tokenizing, training, evaluating or saving) and resumed after each. Three kills in four are
SIGKILL, sent to one of the processes; the others must notice it and exit (one that still waits for
it to connect gets SIGTERM, as from torchrun). The rest are SIGTERM, sent to all processes a moment
apart. In the end, model, log, metrics and last checkpoint must be equal byte for byte. Each run is
a fork of this process with all imports done, so that a start is cheap.
"""

import argparse
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import torch
import torch._dynamo  # imported by every optimizer

from plainformer.base import UserError
from plainformer.pretrain import PretrainConfig, pretrain
from plainformer.tokenizer import train_tokenizer
from plainformer.training import TrainingConfig

STEPS_A_KILL = 8
GRACE, PATIENCE = 5.0, 60.0
"""Seconds within which a process must exit, by itself or after SIGTERM."""
SAME = "model.safetensors", "log.jsonl", "metrics.json"


def configuration(folder: Path, kills: int, processes: int, rng: random.Random) -> PretrainConfig:
    """Write text and a tokenizer; return a run that is long enough for all kills."""
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 6))) for _ in range(300)]
    lines = [" ".join(rng.choices(words, k=rng.randint(5, 30))) for _ in range(2000)]
    (folder / "text.txt").write_text("\n".join(lines))
    train_tokenizer(lines, kind="wordpiece", vocab_size=400).save(folder / "tokenizer")
    return PretrainConfig(
        corpus=(str(folder / "text.txt"),),
        tokenizer=folder / "tokenizer",
        out=folder / "undisturbed",
        preset="modern-tiny",
        max_length=64,
        batch_tokens=128,
        accumulate=processes,
        valid_tokens=1000,
        workers=1,
        resume=True,
        training=TrainingConfig(
            steps=max(24, STEPS_A_KILL * kills), eval_every=7, checkpoint_every=3, device="cpu"
        ),
    )


def start(config: PretrainConfig, processes: int, said: Path) -> list[int]:
    """Start or resume the run on several processes; return their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return [fork(config, rank, processes, port, said) for rank in range(processes)]


def fork(config: PretrainConfig, rank: int, processes: int, port: str, said: Path) -> int:
    """Fork one process of a run, with the environment that torchrun sets."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        pretrain(config, quiet=True)
        code = 0
    except UserError as error:
        print(error, file=sys.stderr)
        code = 2
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def leave(pids: list[int], seconds: float) -> list[int]:
    """Wait a limited time for processes to exit; return those that still run."""
    deadline = time.monotonic() + seconds
    running = list(pids)
    while running and time.monotonic() < deadline:
        for pid in list(running):
            if os.waitpid(pid, os.WNOHANG)[0]:
                running.remove(pid)
        time.sleep(0.005)
    return running


def last_step(out: Path) -> int:
    """Return the step of the newest checkpoint; 0 without one."""
    return max((int(path.name[5:]) for path in out.glob("checkpoints/step-*")), default=0)


def disturb(
    config: PretrainConfig, kills: int, processes: int, delay: float, rng: random.Random
) -> Counter[str]:
    """Kill and resume the run repeatedly, then let it end; return the number of each kind."""
    out, done = config.out, Counter[str]()
    said = out.parent / "said.txt"
    for number in range(1, kills + 1):
        wait = rng.uniform(0, delay)
        running = leave(start(config, processes, said), wait)
        kind = (
            "had ended" if not running else rng.choice(["SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM"])
        )
        if kind == "SIGKILL":
            os.kill(rng.choice(running), signal.SIGKILL)
        elif kind == "SIGTERM":
            for pid in running:
                os.kill(pid, signal.SIGTERM)
                time.sleep(rng.uniform(0, 0.05))
        begin = time.monotonic()
        running = leave(running, GRACE)
        if kind == "SIGKILL":
            for pid in running:
                os.kill(pid, signal.SIGTERM)
        if leave(running, PATIENCE):
            raise SystemExit(f"a process has not exited {PATIENCE:.0f} s after kill {number}")
        took = time.monotonic() - begin
        done[kind] += 1
        step = last_step(out)
        print(
            f"{number:>4}  {kind:<9}  after {wait:5.2f} s, gone in {took:5.2f} s; "
            f"saved up to step {step} of {config.training.steps}",
            flush=True,
        )
        # Spread the kills over the whole run.
        delay *= 1.25 if step / config.training.steps < number / (kills + 1) else 0.8
    if leave(start(config, processes, said), 600):
        raise SystemExit("the run does not finish")
    return done


def differing(one: Path, other: Path) -> list[str]:
    """Return the files that differ between the two runs."""
    last = sorted(one.glob("checkpoints/step-*"))[-1].relative_to(one)
    names = [*SAME, *(str(last / name) for name in ("model.safetensors", "optimizer.safetensors"))]
    return [
        name
        for name in names
        if not (other / name).exists() or (one / name).read_bytes() != (other / name).read_bytes()
    ]


def main() -> None:
    """Run both, print the kills, and compare the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--out", type=Path, help="folder for both runs; a temporary one by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    folder = options.out or Path(mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    config = configuration(folder, options.kills, options.processes, rng)

    begin = time.monotonic()
    if leave(start(config, options.processes, folder / "said.txt"), 600):
        raise SystemExit("the undisturbed run does not finish")
    seconds = time.monotonic() - begin
    print(f"undisturbed: {config.training.steps} steps in {seconds:.1f} s", flush=True)
    disturbed = replace(config, out=folder / "killed")
    done = disturb(disturbed, options.kills, options.processes, seconds / 4, rng)
    kinds = ", ".join(f"{count} × {kind}" for kind, count in done.items())
    faults = differing(config.out, disturbed.out)
    verdict = f"differ in {', '.join(faults)}" if faults else "are the same, byte for byte"
    print(f"{kinds} on {options.processes} process(es), --seed {options.seed}: both runs {verdict}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
