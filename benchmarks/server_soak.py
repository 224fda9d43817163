"""Check that a server lasts: good answers to the end, and memory that does not grow.

    python benchmarks/server_soak.py minilm [--requests 1000000] [--rate 500] [--out runs/soak]

`plainformer serve` is started on the folder of a model, and asked over loopback by `--clients` at
once, at a bounded rate. One request in ten is bad (`server_soak_requests.py`): wrong JSON, bodies
of 10 MB, control characters, connections closed in the middle, slow clients, unknown routes, wrong
methods, too many texts, pipelining, garbage. Every good answer is compared with the one that the
model gives alone; one in five is about words that never came before. A bar shows rate and time
left; a million requests at 500 a second take 33 minutes. `memory.jsonl` and `memory.png` in `--out`
are the resident memory, sampled each second; `server.log` is what the server said.
The exit code is 1 where an answer was wrong or missing, or the memory grew by 1 % or more from the
first to the last tenth after warm-up: a fifth of the requests, and at least 10,000, which fill the
caches of words. Fewer than 20,000 are too few to tell.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from server_soak_requests import BAD, PATIENCE, RARE, Connection, Question, Server

from plainformer.deploy.server.models import CACHED_WORDS
from plainformer.deploy.server.routes.tokenize import tokens_of
from plainformer.deploy.server.served import Served
from plainformer.tokenizer import Tokenizer

TEXTS = 500
SENTENCE = (
    "the of and a to in is was he for it with as his on be at by had not are but from or have an "
    "they which one you were all her she there would their we him been has when who will no more "
    "café naïve Übermut слово 猫 魚 12.5 co-operate unbelievably 😀"
)
WORDS = SENTENCE.split()
SHARE_OF_BAD, SHARE_OF_NEW = 0.1, 0.2
WARM_UP = 10_000
"""Requests until the caches of words are full."""
MOST_GROWTH = 0.01
TIMEOUT = 30.0
"""Seconds after which the server gives up a body that does not arrive."""


def texts_of(rng: random.Random, count: int) -> list[str]:
    """Make texts of 1 to 99 words, mostly short."""
    return [" ".join(rng.choices(WORDS, k=int(100 ** rng.random()))) for _ in range(count)]


def questions_of(served: Served, rng: random.Random, count: int) -> list[Question]:
    """Ask the model itself, without a server, and return the requests with their answers."""
    texts = texts_of(rng, count)
    found = []
    for index in range(count):
        some = texts[index : index + rng.choice([1, 1, 1, 1, 2, 3, 8])]
        body = json.dumps({"inputs": some}, ensure_ascii=rng.random() < 0.5).encode()
        if served.embedder is not None:
            answer: Any = np.stack([v[0] for v in served.compute(served.read_texts(some))])
            found.append(Question("/embed", body, answer))
        else:
            rows, items = served.read(some)
            answers = served.answers(rows, served.compute(items))
            said = json.loads(json.dumps(answers))
            found.append(
                Question("/predict", body, {"model": served.folder.name, "predictions": said})
            )
    return found


def new_words(tokenizer: Tokenizer, rng: random.Random) -> Question:
    """Ask for the tokens of words that the server has never seen."""
    words = ("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(10))
    text = " ".join(words)
    tokens = tokens_of(tokenizer, text, True)
    return Question("/tokenize", json.dumps({"inputs": text}).encode(), [tokens])


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[tuple[int, Server]]:
    """Start the server; yield its process id and its address; check that it stops in peace."""
    command = [sys.executable, "-m", "plainformer", "serve", str(folder), "--port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--timeout", str(TIMEOUT)], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://(.*):(\d+)$", line.strip())
        if not found:
            raise SystemExit("the server does not start")
        yield process.pid, Server(found[1], int(found[2]))
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise SystemExit(f"the server ended with exit code {process.returncode}")


def warm_up(requests: int) -> float:
    """Return the number of requests after which memory should not grow: at most a half."""
    return min(max(WARM_UP, requests / 5), requests / 2)


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Soak:
    """The state of a run: how many requests were sent, what was answered, the memory."""

    server: Server
    pid: int
    questions: list[Question]
    tokenizer: Tokenizer
    requests: int
    rate: float
    seed: int
    log: Path
    """The file of the samples of memory."""
    sent: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)
    """Requests so far, and resident bytes."""
    began: float = field(default_factory=time.monotonic)

    async def run(self, clients: int, progress: Progress) -> None:
        """Send all requests, `clients` at once."""
        task = progress.add_task("", total=self.requests, memory="", rate="", faults=0)
        watch = asyncio.create_task(self.watch(progress, task))
        await asyncio.gather(*(self.client() for _ in range(clients)))
        watch.cancel()
        self.show(progress, task)

    async def client(self) -> None:
        """Send the next request when its time has come, until all are sent."""
        while self.sent < self.requests:
            async with self.server.connection() as connection:
                await self.converse(connection)

    async def converse(self, connection: Connection) -> None:
        """Send good requests on one connection, and bad ones on others of their own."""
        while self.sent < self.requests:
            number = self.sent
            self.sent += 1
            await asyncio.sleep(max(0.0, self.began + number / self.rate - time.monotonic()))
            rng = random.Random(f"{self.seed}-{number}")
            is_bad, is_new = rng.random() < SHARE_OF_BAD, rng.random() < SHARE_OF_NEW
            question = rng.choice(self.questions)
            if is_new and not is_bad:
                question = new_words(self.tokenizer, rng)
            weights = [RARE.get(name, 1.0) for name in BAD]
            kind = rng.choices(list(BAD), weights)[0] if is_bad else "good"
            try:
                async with asyncio.timeout(PATIENCE):
                    if is_bad:
                        fault = await BAD[kind](self.server, question, rng)
                    else:
                        fault = question.check(await connection.ask(question.raw))
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                fault = f"{type(error).__name__}: {error}"
            self.counts[kind] += 1
            if fault is not None:
                self.faults.append(f"request {number} ({kind}): {fault}")
                print(self.faults[-1], file=sys.stderr, flush=True)
                if not is_bad:
                    return  # on a new connection

    async def watch(self, progress: Progress, task: Any) -> None:
        """Sample the memory each second."""
        while True:
            self.show(progress, task)
            await asyncio.sleep(1)

    def show(self, progress: Progress, task: Any) -> None:
        """Add a sample, and print it."""
        done, bytes_ = self.counts.total(), resident(self.pid)
        self.memory.append((done, bytes_))
        with self.log.open("a") as file:
            file.write(json.dumps({"requests": done, "bytes": bytes_}) + "\n")
        rate = done / max(time.monotonic() - self.began, 1e-9)
        progress.update(
            task,
            completed=done,
            memory=f"{bytes_ / 1e6:.1f} MB",
            rate=f"{rate:.0f}/s",
            faults=len(self.faults),
        )

    def growth(self) -> tuple[float, float]:
        """Return the median memory of the first tenth after warm-up, and of the last tenth."""

        def of(begin: float, end: float) -> float:
            inside = (b for n, b in self.memory if begin <= n / self.requests <= end)
            return median(list(inside) or [self.memory[-1][1]])

        warm = warm_up(self.requests) / self.requests
        return of(warm, warm + 0.1), of(0.9, 1.0)


def draw(memory: list[tuple[int, int]], path: Path) -> None:
    """Draw the memory by the number of requests."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([n for n, _ in memory], [b / 1e6 for _, b in memory])
    axes.axvline(warm_up(memory[-1][0]), linestyle=":", color="grey")
    axes.set(xlabel="requests", ylabel="resident memory, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the soak, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="folder or name of the model that is served")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=500.0, help="most requests a second")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "memory.jsonl"
    log.unlink(missing_ok=True)
    folder = Path(options.model)
    served = Served.load(folder)
    served.tokenizer.limit_caches(CACHED_WORDS)
    questions = questions_of(served, random.Random(options.seed), TEXTS)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[rate]}  {task.fields[memory]}  {task.fields[faults]} faults"),
    )
    with (
        serving(folder, options.out / "server.log") as (pid, server),
        Progress(*columns) as progress,
    ):
        limits = options.requests, options.rate, options.seed, log
        soak = Soak(server, pid, questions, served.tokenizer, *limits)
        asyncio.run(soak.run(options.clients, progress))
    draw(soak.memory, options.out / "memory.png")
    before, after = soak.growth()
    for kind, count in soak.counts.most_common():
        print(f"{count:>9,}  {kind}")
    growth = after / before - 1
    print(f"{before / 1e6:.1f} MB after warm-up, {after / 1e6:.1f} MB at the end: {growth:+.2%}")
    print(f"{len(soak.faults)} faults; see {options.out / 'memory.png'}")
    sys.exit(bool(soak.faults) or growth >= MOST_GROWTH)


if __name__ == "__main__":
    main()
