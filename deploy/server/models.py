"""Keep the models by name, each with its engine; reload them while requests are answered.

    with models.using("labels") as running:
        results = await running.compute(items)

A reload loads the new weights beside the old ones, and swaps them: a request that began on the old
ones ends there, and their engine is closed when none is left.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from plainformer.base import AUTO, Inference, UserError, did_you_mean
from plainformer.base.allocator import trim_memory
from plainformer.deploy.runtimes import Runtime
from plainformer.deploy.server.adapters import ItemOf, compute_items, groups_of, load_adapters
from plainformer.deploy.server.aside import Aside
from plainformer.deploy.server.engine import Closed, Engine, QueueFull
from plainformer.deploy.server.errors import Refused
from plainformer.deploy.server.limits import Limits
from plainformer.deploy.server.metrics import Metrics
from plainformer.deploy.server.served import Served
from plainformer.finetune.data.batch import Item

T = TypeVar("T")

CACHED_WORDS = 1 << 13
"""Words whose tokens are kept in memory. Texts of all clients bring ever new ones."""
LONG = 128
"""Tokens from which on a single text is worth several threads."""
SHORT = 4096
"""Characters that are encoded at once; more are encoded in a thread, since that takes longer than
to start one, and others would wait."""


@dataclass(eq=False)
class Running:
    """A model with its engine, and the number of requests that use it."""

    name: str
    served: Served
    engine: Engine
    limits: Limits
    group: "list[Running]"
    """The adapters that share the engine, or this model alone."""
    users: int = 0
    retired: bool = False

    def close_unused(self) -> None:
        """Close the engine when it was replaced, and no request uses it."""
        if self.retired and not any(one.users for one in self.group):
            self.engine.close()

    async def encode(self, encode: Callable[[], T], characters: int) -> T:
        """Encode inputs, long ones without letting other requests wait."""
        return encode() if characters <= SHORT else await asyncio.to_thread(encode)

    async def compute(self, items: Sequence[Item]) -> list[Any]:
        """Compute items in batches with those of others; raise `Refused` where it cannot."""
        self.limits.check_tokens(sum(item.num_tokens for item in items))
        shares = len(self.group) > 1
        given = [ItemOf(self.served, item) for item in items] if shares else list(items)
        try:
            return await asyncio.wrap_future(self.engine.submit(given))
        except QueueFull:
            raise Refused(
                429, "too many texts wait for this model: try again", {"Retry-After": "1"}
            ) from None
        except Closed:
            raise Refused(503, "the server is shutting down") from None
        except UserError as error:  # of the model: those of texts are raised before
            raise Refused(500, str(error)) from None


@dataclass(eq=False)
class Models:
    """The models by name; the first that can answer a request is its default."""

    running: dict[str, Running]
    limits: Limits
    metrics: Metrics
    inference: Inference = AUTO
    aside: Aside = field(default_factory=Aside)
    """Computes what shares no batch."""
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @contextmanager
    def using(
        self,
        name: str | None,
        can: Callable[[Served], bool] = lambda _: True,
        what: str = "answers this",
    ) -> Iterator[Running]:
        """Use the model of a name for one request, or the first that `can` answer it."""
        if name is None:
            name = next((name for name, one in self.running.items() if can(one.served)), None)
        if name is None:
            raise Refused(404, f"no model of this server {what}: see /info")
        if name not in self.running:
            hint = did_you_mean(name, self.running) or f": choose {', '.join(self.running)}"
            raise Refused(404, f"there is no model {name[:80]!r}{hint}")
        one = self.running[name]
        one.users += 1
        try:
            yield one
        finally:
            one.users -= 1
            one.close_unused()

    async def reload(self) -> None:
        """Load each folder again, and swap it for the model that runs; keep it where that fails."""
        threads = torch.get_num_threads()

        def load(named: Mapping[str, Path], runtime: Runtime) -> dict[str, Served]:
            """Load a group; a new thread begins with the number of threads that was set last."""
            torch.set_num_threads(threads)
            return load_group(named, self.inference, runtime)

        async with self._reloading:
            for old in {id(one.group): one.group for one in self.running.values()}.values():
                named = {one.name: one.served.folder for one in old}
                runtime = old[0].served.runtime
                names = ", ".join(named)
                try:
                    new = await asyncio.to_thread(load, named, runtime)
                except Exception as error:
                    print(f"{names} is not reloaded: {error}", file=sys.stderr, flush=True)
                    continue
                self.running |= start(new, self.limits, self.metrics)
                for one in old:
                    one.retired = True
                old[0].close_unused()
                print(f"{names} is reloaded", file=sys.stderr, flush=True)
            trim_memory()

    def close(self) -> None:
        """Finish what was accepted, and end the threads."""
        for one in self.running.values():
            one.engine.close()
        for one in self.running.values():
            one.engine.join(self.limits.timeout)


def load_group(
    folders: Mapping[str, Path], inference: Inference, runtime: Runtime
) -> dict[str, Served]:
    """Load one folder, or the adapters of one base together."""
    if len(folders) > 1:
        return load_adapters(folders, inference)
    return {name: Served.load(folder, inference, runtime) for name, folder in folders.items()}


def start(loaded: Mapping[str, Served], limits: Limits, metrics: Metrics) -> dict[str, Running]:
    """Start the engine of a model, or of the adapters of one base."""
    (first, *others) = loaded.values()
    compute = compute_items if others else first.compute
    threads = torch.get_num_threads()
    workers = 1 if others or first.model.device.type != "cpu" else threads

    def with_threads(items: Sequence[Any]) -> Sequence[Any]:
        """Compute a batch on one thread where others do so, too; a long text alone on all."""
        is_long = len(items) == 1 and items[0].num_tokens >= LONG and engine.busy == 1
        # In this thread of Python; a new one begins with the number that another set last.
        torch.set_num_threads(threads if workers == 1 or is_long else 1)
        return compute(items)

    engine = Engine(
        with_threads,
        wait=limits.wait_ms / 1000,
        queue=limits.queue,
        on_batch=metrics.of_batch,
        workers=workers,
    )
    group: list[Running] = []
    for name, served in loaded.items():
        served.tokenizer.limit_caches(CACHED_WORDS)
        group.append(Running(name, served, engine, limits, group))
    return {one.name: one for one in group}


def load_models(
    folders: Sequence[str | Path],
    limits: Limits | None = None,
    inference: Inference = AUTO,
    runtime: Runtime = "auto",
) -> Models:
    """Load the models of some folders, by the folders' names; `runtime` computes their batches.

    Raises `UserError` for a folder without a model, and for two folders of one name.
    """
    limits, metrics = limits or Limits(), Metrics()
    named: dict[str, Path] = {}
    for folder in map(Path, folders):
        name = folder.name or folder.resolve().name
        if name in named:
            raise UserError(f"{named[name]} and {folder} have the same name: rename one")
        named[name] = folder
    is_whole = inference.int8 or runtime not in ("auto", "torch")  # adapters are merged then
    groups = [{n: f} for n, f in named.items()] if is_whole else groups_of(named)
    loaded = [load_group(group, inference, runtime) for group in groups]
    started: dict[str, Running] = {}
    for group in loaded:
        started |= start(group, limits, metrics)
    trim_memory()
    return Models({name: started[name] for name in named}, limits, metrics, inference)
