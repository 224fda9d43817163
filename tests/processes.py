"""Run a module or a script in a process of its own, or on several, as torchrun starts them.

They are forked from a process that has imported torch: to import it takes longer than most runs.
"""

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parents[1]
IMPORTED = (
    *("torch._dynamo", "torch.distributed.fsdp", "torch.nn.parallel.distributed"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "pytest"),
    *("plainformer.finetune", "plainformer.pretrain"),
)

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(list(IMPORTED))


def run_in_process(
    module: str, arguments: Sequence[str], timeout: float = 600, folder: Path = ROOT
) -> tuple[int, str]:
    """Run `python -m module`, or a script, in `folder`; return its exit code and what it printed.

    The code is that of `subprocess`: −9 for a process that was killed.
    """
    return _run([{}], module, arguments, timeout, folder)


def run_on_processes(count: int, module: str, arguments: Sequence[str], timeout: float) -> None:
    """Run `python -m module` on `count` processes; fail where they fail, or wait for each other."""
    from torch.distributed import TCPStore  # not above: conftest sets the number of threads

    # As in torchrun, which is the store of its processes, so that no port is taken meanwhile.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
    }
    own = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    code, output = _run(own, module, arguments, timeout, ROOT)
    assert code == 0, output


def _run(
    environments: Sequence[Mapping[str, str]],
    module: str,
    arguments: Sequence[str],
    timeout: float,
    folder: Path,
) -> tuple[int, str]:
    """Run a module in a process for each of the environments, until one fails or all have ended."""
    with TemporaryDirectory() as scratch:
        printed = Path(scratch, "printed")
        printed.touch()
        processes = [
            server.Process(
                target=_become,
                args=(module, list(arguments), {**os.environ, **own}, folder, printed),
            )
            for own in environments
        ]
        try:
            for process in processes:
                process.start()
            in_time = _wait(processes, timeout)
        finally:
            for process in processes:
                process.kill()
                process.join()
        output = printed.read_text(errors="replace")
    if not in_time:
        pytest.fail(f"not ended after {timeout} seconds:\n{output}")
    return next((code for p in processes if (code := p.exitcode or 0)), 0), output


def _wait(processes: Sequence[ForkServerProcess], timeout: float) -> bool:
    """Wait until all have ended, or one has failed; return whether that was in time."""
    end = time.monotonic() + timeout
    running = {process.sentinel: process for process in processes}
    while running:
        ended = wait(list(running), timeout=max(0.0, end - time.monotonic()))
        if not ended:
            return False
        if any(running[int(sentinel)].exitcode for sentinel in ended):
            return True
        running = {s: process for s, process in running.items() if s not in ended}
    return True


def _become(
    module: str, arguments: list[str], environment: dict[str, str], folder: Path, printed: Path
) -> None:
    """Be the process that `python -m module` or `python module.py` would be; print to a file."""
    file = os.open(printed, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment, PYTHONPATH=str(ROOT))
    sys.argv = [module, *arguments]
    if module.endswith(".py"):
        sys.path.insert(0, str(Path(module).parent))
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
