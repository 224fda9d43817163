"""Compare how long OpenMP's waiting threads spin before they sleep.

    python benchmarks/threads.py [--rounds 5] [--steps 40]

OpenMP's threads wait for each other after every operation, at first spinning for `GOMP_SPINCOUNT`
iterations. Spinning is fast on an idle machine, and very slow where another process needs the core.
For each value, pretraining steps of the demo's shape (4 layers × 128, batches of 2,048 tokens) run
in a fresh process, interleaved, on the idle machine and beside one busy process. Figures are
thousands of tokens per second, as median and range over the rounds.
"""

import argparse
import os
import subprocess
import sys
from importlib.metadata import version
from statistics import median

VALUES = {"default": None, "100,000": "100000", "4,000": "4000", "300": "300", "0": "0"}

STEP = """
import sys, time, torch
from plainformer.encoder import EncoderConfig, MaskedLM, Sequences
torch.manual_seed(0)
torch.set_num_threads(2)
config = EncoderConfig.preset("modern-tiny", vocab_size=8192, pad_token_id=0)
model = MaskedLM(config).train()
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
sequences = Sequences.of([16] * 64 + [32] * 32)
ids = torch.randint(0, 8192, (len(sequences.positions),))
at = torch.arange(0, len(ids), 3)
def step():
    logits = model(ids, sequences=sequences, target_positions=at)
    torch.nn.functional.cross_entropy(logits, ids[at]).backward()
    optimizer.step()
    optimizer.zero_grad()
for _ in range(3):
    step()
begin = time.perf_counter()
for _ in range(int(sys.argv[1])):
    step()
print(int(sys.argv[1]) * len(ids) / (time.perf_counter() - begin))
"""


def rate(spins: str | None, steps: int) -> float:
    """Return the tokens per second of a process with this spin count."""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT",)}
    environment |= {} if spins is None else {"GOMP_SPINCOUNT": spins}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-c", STEP, str(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure every value, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    rates: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.rounds):
        for busy in (False, True):
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
            try:
                for name, spins in VALUES.items():
                    rates.setdefault((name, busy), []).append(rate(spins, options.steps) / 1000)
            finally:
                if other is not None:
                    other.kill()
                    other.wait()
    print(f"PyTorch {version('torch')}, {os.cpu_count()} cores, medians of {options.rounds}\n")
    print("| `GOMP_SPINCOUNT` | idle machine | one other busy process |")
    print("|---|---:|---:|")
    for name in VALUES:
        cells = (
            f"{median(r):.1f} ({min(r):.1f} – {max(r):.1f})"
            for r in (rates[name, False], rates[name, True])
        )
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
