"""Fuzz all external files and options: each must be read, or refused with a one-line error.

    python benchmarks/fuzz.py --cases 20000 --seed 1 [--targets model rows] [--processes 2]
    python benchmarks/fuzz.py --seed 1 --case 1234            one case again, with its traceback

Each case copies a small valid folder (a model, tokenizer, corpus, run, checkpoint …), damages one
file (`fuzz_mutations.py`) and reads it (`fuzz_targets.py`), or damages a command line. It must
succeed or raise `UserError`. Cases run in forked processes with limits on address space and
processor time, so that a crash, a hang or an excess ends only that process. All such cases are
reported with their numbers, and the exit code is then 1.
"""

import argparse
import io
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from fuzz_lines import COMMAND_LINES, damaged_line, run_line
from fuzz_mutations import mutate
from fuzz_targets import Target, make

from plainformer.base import UserError

GOOD = ("read", "refused")
SECONDS = 20
"""Processor seconds allowed for one case."""
MEMORY = 3 * 2**30
"""Bytes of address space that a process may add to its initial size."""


@dataclass
class Result:
    """The outcome of one case."""

    number: int
    target: str
    outcome: str
    """"read", "refused", or a fault: the name of an exception, "crash" or "hang"."""
    said: str = ""
    what: str = ""
    """The file that was damaged, or the command line."""


@dataclass
class Worker:
    """A forked process and the case it is running."""

    process: Any
    pipe: Connection
    case: tuple[int, str] | None = None
    began: float = 0.0
    spent: float = field(default=0.0)


def run_case(
    number: int,
    name: str,
    targets: dict[str, Target],
    seed: int,
    scratch: Path,
    shows: bool = False,
) -> Result:
    """Damage a copy of the target's folder, and read it."""
    rng = random.Random(f"{seed}-{number}")
    shutil.rmtree(scratch, ignore_errors=True)
    result = Result(number, name, "read")
    try:
        if name == "command line":
            scratch.mkdir()
            line = damaged_line(rng)
            result.what = repr(line)[:300]
            result.outcome, result.said = run_line(line, scratch)
        else:
            target = targets[name]
            shutil.copytree(target.folder, scratch)
            found = sorted({f for g in target.files for f in scratch.glob(g) if f.is_file()})
            for path in rng.sample(found, min(len(found), rng.choice((1, 1, 1, 2)))):
                mutate(path, rng)
                result.what += f" {path.relative_to(scratch)}"
            target.prepare(scratch, rng)
            target.read(scratch)
    except UserError as error:
        result.outcome, result.said = "refused", str(error)
    except (KeyboardInterrupt, SystemExit) as error:
        result.outcome, result.said = "leaves", repr(error)
    except BaseException as error:
        if shows:
            traceback.print_exc()
        frames = traceback.extract_tb(error.__traceback__)
        ours = [
            f for f in frames if "site-packages" not in f.filename and "/lib/" not in f.filename
        ]
        at = ours[-1]
        place = f"{Path(at.filename).name}:{at.lineno}"
        message = " ".join(str(error).split())[:150]
        result.outcome, result.said = type(error).__name__, f"{place}: {message}"
    return result


def work(pipe: Connection, targets: dict[str, Target], seed: int, scratch: Path) -> None:
    """Run the cases that arrive, with limited memory, in a separate folder."""
    sys.setrecursionlimit(1000)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # where a panic in Rust prints
        os.dup2(null, number)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    while case := pipe.recv():
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            result = run_case(*case, targets, seed, scratch)
        pipe.send(result)


def start(targets: dict[str, Target], seed: int, root: Path, number: int) -> Worker:
    """Fork a process."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    arguments = (theirs, targets, seed, root / f"scratch-{number}")
    process = context.Process(target=work, args=arguments, daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def processor_seconds(process: Any) -> float:
    """Return the processor time that a process has used."""
    try:
        values = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def run_all(
    cases: Iterable[tuple[int, str]], targets: dict[str, Target], seed: int, root: Path, count: int
) -> list[Result]:
    """Run the cases in `count` processes; one that dies or hangs is replaced."""
    queue, results = iter(cases), list[Result]()
    workers = [start(targets, seed, root, n) for n in range(count)]
    spare = count

    def give(worker: Worker) -> bool:
        worker.case = next(queue, None)
        worker.began, worker.spent = time.monotonic(), processor_seconds(worker.process)
        worker.pipe.send(worker.case)
        return worker.case is not None

    active = [worker for worker in workers if give(worker)]
    while active:
        ready = wait([worker.pipe for worker in active], timeout=1.0)
        for worker in list(active):
            assert worker.case is not None
            spent = processor_seconds(worker.process) - worker.spent
            fault = ""
            if worker.pipe in ready:
                try:
                    results.append(worker.pipe.recv())
                except EOFError:
                    worker.process.join()
                    fault = "crash"
            elif spent > SECONDS or time.monotonic() - worker.began > 10 * SECONDS:
                worker.process.kill()
                fault = "hang"
            else:
                continue
            if fault:
                said = f"exit code {worker.process.exitcode}, {spent:.0f} s of processor time"
                results.append(Result(*worker.case, fault, said))
                active.remove(worker)
                worker = start(targets, seed, root, spare)
                spare += 1
                active.append(worker)
            if results[-1].outcome not in GOOD:
                print(results[-1], file=sys.stderr, flush=True)
            if len(results) % 500 == 0:
                print(f"{len(results):,} cases", file=sys.stderr, flush=True)
            if not give(worker):
                active.remove(worker)
    return results


def chosen(targets: dict[str, Target], numbers: Iterable[int], seed: int) -> list[tuple[int, str]]:
    """Draw a target for each case number."""
    weights = {name: target.weight for name, target in targets.items()}
    names, shares = [*weights, "command line"], [*weights.values(), len(COMMAND_LINES) / 5]
    picked = [random.Random(f"{seed} {n}").choices(names, shares)[0] for n in numbers]
    return list(zip(numbers, picked, strict=True))


def report(results: list[Result], seconds: float) -> int:
    """Print a table of the targets, and each kind of fault once, with the numbers of its cases."""
    by_target: dict[str, Counter[str]] = defaultdict(Counter)
    faults: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        good = result.outcome in GOOD
        by_target[result.target][result.outcome if good else "faults"] += 1
        if not good:
            faults[result.outcome, result.said[:60]].append(result)
    print(f"{'target':<24}{'cases':>8}{'read':>8}{'refused':>9}{'faults':>8}")
    for name, counts in sorted(by_target.items()):
        print(f"{name:<24}{counts.total():>8,}{counts['read']:>8,}{counts['refused']:>9,}"
              f"{counts['faults']:>8,}")  # fmt: skip
    for (outcome, _), found in sorted(faults.items(), key=lambda item: -len(item[1])):
        numbers = ", ".join(str(result.number) for result in found[:5])
        print(f"\n{len(found)} × {outcome} in {found[0].target} ({found[0].what.strip()}), cases "
              f"{numbers}\n    {found[0].said[:300]}")  # fmt: skip
    count = sum(map(len, faults.values()))
    print(f"\n{len(results):,} cases, {count:,} faults, {len(results) / seconds:.0f} a second")
    return 1 if count else 0


def main() -> int:
    """Build the folders, run the cases, and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this one, in this process")
    parser.add_argument("--targets", nargs="+", default=[""], help="only those that begin so")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        root = Path(folder)
        os.environ |= {"PLAINFORMER_CACHE": str(root / "cache"), "HF_HUB_OFFLINE": "1"}
        torch.set_num_threads(1)
        with redirect_stderr(io.StringIO()):
            targets = make(root)
        for name, target in targets.items():  # undamaged files must be read
            shutil.copytree(target.folder, root / "scratch")
            try:
                with redirect_stdout(io.StringIO()):
                    target.read(root / "scratch")
            except UserError as error:
                print(f"{name}: the undamaged folder is refused: {error}", file=sys.stderr)
            shutil.rmtree(root / "scratch")
        if options.case is not None:
            ((number, name),) = chosen(targets, [options.case], options.seed)
            result = run_case(number, name, targets, options.seed, root / "scratch", shows=True)
            print(result)
            return int(result.outcome not in GOOD)
        cases = chosen(targets, range(options.cases), options.seed)
        cases = [case for case in cases if case[1].startswith(tuple(options.targets))]
        began = time.monotonic()
        results = run_all(cases, targets, options.seed, root, options.processes)
        return report(results, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
