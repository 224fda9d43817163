"""Measure the memory that a server keeps between batches of changing sizes, by allocator setting.

    python benchmarks/server_memory.py minilm [--tokens 100000] [--layers 1]

Batches of up to 4,096 tokens are computed in a thread, as by the engine of a server, each setting
in a process of its own: `keep` is `base.allocator.keep_memory`, `return` is `return_memory`, and
`glibc` is neither. What is printed: resident memory after loading and after each sixth of the
batches, and CPU microseconds for a token, of the program and of the kernel, which faults pages in.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import threading
from pathlib import Path

from plainformer.base.allocator import keep_memory, limit_kernel_cache, return_memory, trim_memory

SETTINGS = {"keep": keep_memory, "return": return_memory, "glibc": lambda: None}
LARGEST = 4096
SENTENCE = "the red hen pecks who wrote this question about some old river and its name"


def resident() -> float:
    """Return the resident megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(folder: Path, tokens: int, layers: int) -> str:
    """Compute batches of that many tokens in all, in this process."""
    from plainformer.deploy.server.served import Served

    served = Served.load(folder)
    base, rng = served.model.base, random.Random(0)
    base.blocks = base.blocks[:layers]  # the same sizes in less time
    object.__setattr__(base.config, "num_hidden_layers", layers)
    trim_memory()
    loaded, seen, total = resident(), [], 0
    texts = [
        " ".join(rng.choices(SENTENCE.split(), k=int(200 ** rng.random()))) for _ in range(500)
    ]
    pool = [item for text in texts for item in served.read_texts([text])]

    def run() -> None:
        nonlocal total
        while total < tokens:
            most, batch = LARGEST ** rng.random(), [rng.choice(pool)]
            while sum(item.num_tokens for item in batch) < most:
                batch.append(rng.choice(pool))
            total += sum(item.num_tokens for item in batch)
            served.compute(batch)
            seen.append(resident())

    before = resource.getrusage(resource.RUSAGE_SELF)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    after = resource.getrusage(resource.RUSAGE_SELF)
    sixths = [f"{seen[len(seen) * part // 6 - 1]:.0f}" for part in range(1, 7)]
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return (
        f"{loaded:.0f} MB loaded, then {' '.join(sixths)}; "
        f"{1e6 * user / total:.1f} + {1e6 * system / total:.1f} µs a token"
    )


def main() -> None:
    """Measure each setting in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--setting", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.setting:
        limit_kernel_cache()
        SETTINGS[options.setting]()
        print(measure(options.model, options.tokens, options.layers))
        return
    for setting in SETTINGS:
        command = [sys.executable, *sys.argv, "--setting", setting]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{setting:<8}{done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
