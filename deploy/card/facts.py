"""Collect what the files of a model folder, and of the run that made it, say about the model."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plainformer.base import UserError, find_folder
from plainformer.base.hub import hub_id
from plainformer.deploy.card.names import file_name, object_in
from plainformer.deploy.card.results import Data, Result
from plainformer.deploy.card.stage import Stage
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights import (
    Adapter,
    family_of,
    is_adapter,
    named_architectures,
    read_config,
    read_tensors,
)
from plainformer.encoder.weights.sentence import read_layout
from plainformer.finetune import FinetuneConfig
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import task_of
from plainformer.finetune.tasks import name_of

OPTIONS = "options.json"
TASKS = "tasks"
"""The option of a run on several tasks, whose folders are within its own."""
SEVERAL = "It was trained together with other tasks, or after them: `multitask`, `continual`."
LONGEST_CHAIN = 16
"""Runs at most that are followed back to their pretrained model."""


@dataclass(frozen=True)
class Facts:
    """The facts that a card states about a model."""

    folder: Path
    config: Mapping[str, Any]
    """The `config.json`, of an adapter the one of the tuned model."""
    shape: EncoderConfig | None
    """None of static vectors, which have neither a config nor blocks."""
    parameters: int | None
    task: AnyTask | None
    start: str | None
    """The model that training began with, by the name of its folder; None of a new one."""
    base: str | None
    """The pretrained model on the hub; None where none is known."""
    train: tuple[Data, ...]
    results: tuple[Result, ...]
    commands: tuple[str, ...]
    """The lines that repeat it, each the words of one."""
    is_chosen: bool = False
    """True where the weights were chosen by the validation scores."""
    made: str = ""
    """The conversion after training, as a title names it: "as ONNX"; empty for none."""
    notes: tuple[str, ...] = ()
    """Sentences on how that was done, in Markdown."""

    @classmethod
    def of(cls, folder: Path, run: Path | None = None) -> "Facts":
        """Read the facts of the model in `folder`; `run` is that of its training, if another."""
        run = folder if run is None else run
        options = object_in(run / OPTIONS)
        layout = read_layout(folder)
        is_static = layout is not None and layout.is_static
        config = {} if is_static else read_config(folder)
        is_one_of_several = TASKS in object_in(run.parent / OPTIONS)
        stage = Stage.of(options)
        model = options.get("model")
        start = None if options.get("from_scratch") or not model else str(model)
        return cls(
            folder,
            config,
            None if is_static else family_of(config).read_config(config),
            num_parameters(folder),
            task_or_none(folder),
            None if start is None else (hub_id(start) or file_name(start)),
            None if start is None else (hub_id if is_adapter(folder) else base_model)(start),
            stage.train,
            tuple(stage.results(run)),
            () if is_one_of_several else stage.commands,
            notes=(SEVERAL,) if is_one_of_several else (),
            is_chosen=stage.kind is FinetuneConfig and bool(options.get("select", True)),
        )

    @classmethod
    def of_made(
        cls,
        folder: Path,
        run: str | Path,
        made: str,
        words: Sequence[str],
        results: Sequence[Result],
        note: str,
    ) -> "Facts":
        """Read the facts of the model in `folder`, which a command made of the one in `run`.

        `words` are those of the command, with RUN for that model; `results` what was measured, if
        anything was.
        """
        place = find_folder(run)
        facts = cls.of(folder, place)
        if not (place / OPTIONS).is_file():
            start = hub_id(run) or file_name(str(run))
            facts = replace(facts, start=start, base=hub_id(run))
            words = [start if word == "RUN" else word for word in words]
        return replace(
            facts,
            made=made,
            results=tuple(results) or facts.results,
            commands=(*facts.commands, shlex.join(["plainformer", *words])),
            notes=(note,),
        )

    @property
    def architecture(self) -> str:
        """Return the name of the class of `transformers`, or what stands for it."""
        if self.shape is None:
            return "static vectors"
        return next(iter(named_architectures(self.config)), family_of(self.config).model_type)

    @property
    def task_name(self) -> str | None:
        """Return the name of the task; None of a model that was only pretrained."""
        return None if self.task is None else name_of(type(self.task))

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels of the task, if it has any."""
        return tuple(getattr(self.task, "labels", ()))

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages of the training data; () unless all of it is known."""
        known = [data.known for data in self.train]
        found = [language for data in known if data is not None for language in data.languages]
        return () if None in known else tuple(dict.fromkeys(found))


def base_model(start: str) -> str | None:
    """Return the model on the hub from which a model comes, through the runs between them."""
    for _ in range(LONGEST_CHAIN):
        if (found := hub_id(start)) is not None:
            return found
        options = object_in(Path(start) / OPTIONS)
        if not isinstance(options.get("model"), str) or options.get("from_scratch"):
            return None
        start = options["model"]
    return None


def task_or_none(folder: Path) -> AnyTask | None:
    """Load the task of a folder; None where it has none."""
    try:
        return task_of(folder)
    except UserError:
        if (folder / "task.json").exists():
            raise
        return None


def num_parameters(folder: Path) -> int | None:
    """Count the numbers in the file of weights, or in that of an adapter; None without one."""
    try:
        tensors = Adapter.of(folder).tensors if is_adapter(folder) else read_tensors(folder)
    except UserError:
        return None
    return sum(tensor.numel() for tensor in tensors.values())
