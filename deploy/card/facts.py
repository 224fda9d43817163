"""Collect what the files of a model folder, and of the run that made it, say about the model."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlparse

from plainformer.base import Fields, UserError, find_folder, read_json
from plainformer.base.hub import hub_id
from plainformer.corpora import Dataset, catalogue, is_set
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
from plainformer.pretrain import PretrainConfig
from plainformer.unparse import words_of

OPTIONS, METRICS, SUMMARY = "options.json", "metrics.json", "summary.json"
TASKS = "tasks"
"""The option of a run on several tasks, whose folders are within its own."""
SEVERAL = "It was trained together with other tasks, or after them: `multitask`, `continual`."
TEXTS = {"columns", "template", "templates", "verbaliser"}
"""Options with text in which a slash means no path."""
LONGEST_CHAIN = 16
"""Runs at most that are followed back to their pretrained model."""


@dataclass(frozen=True)
class Data:
    """Examples or text, by the name of a set or of a file."""

    name: str
    known: Dataset | None
    """The set of the catalogue; None for a file."""

    @classmethod
    def of(cls, source: str) -> "Data":
        """Name a source: the folders of a file, and the host and query of a URL, are left out."""
        return cls(source, catalogue[source]) if is_named(source) else cls(file_name(source), None)

    @property
    def format(self) -> str:
        """Return the name of the set, or the kind of a file as the library `datasets` names it."""
        if self.known is not None:
            return self.name
        kinds = {"csv": "csv", "tsv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet"}
        return kinds.get(PurePath(self.name).suffix.removeprefix("."), "text")


@dataclass(frozen=True)
class Result:
    """The scores of a model on some data."""

    data: Data
    part: str
    """The part of the data, and whatever else is to be known: "validation", "10 % held out"."""
    examples: int | None
    scores: Mapping[str, float]
    spread: Mapping[str, float] | None = None
    """Standard deviations, of a mean over several runs."""
    model: str = ""
    """The file that was measured, where a folder has several."""
    by_label: Mapping[str, Mapping[str, float]] | None = None
    warning: str = ""
    """A reason to doubt the scores."""


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


@dataclass(frozen=True)
class Stage:
    """The options of a run, and whether it was pretraining, fine-tuning or neither."""

    kind: type[FinetuneConfig] | type[PretrainConfig] | None
    options: Mapping[str, Any]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Stage":
        """Tell the stage by the options."""
        if isinstance(options.get("corpus"), list):
            return cls(PretrainConfig, options)
        is_tuned = isinstance(options.get("train"), str) and isinstance(options.get("task"), dict)
        return cls(FinetuneConfig if is_tuned else None, options)

    @property
    def train(self) -> tuple[Data, ...]:
        """Return the data that was learned from."""
        if self.kind is None:
            return ()
        if self.kind is FinetuneConfig:
            return (Data.of(self.options["train"]),)
        return tuple(Data.of(str(source)) for source in self.options["corpus"])

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the line that repeats the run, if it can be told."""
        if self.kind is None:
            return ()
        # `--model` alone would mean the recipe that continues from a model.
        start = ["pretrain", "--recipe", "modern"] if self.options.get("model") else ["pretrain"]
        start = ["finetune"] if self.kind is FinetuneConfig else start
        return (command(start, self.kind, self.options),)

    def results(self, run: Path) -> list[Result]:
        """Return the scores that a run has left: in training, over seeds or folds, and after it."""
        found: list[Result] = []
        saved = object_in(run / METRICS)
        if self.kind is PretrainConfig and isinstance(saved.get("held_out"), dict):
            found += [result(data, "held-out part", saved["held_out"]) for data in self.train[:1]]
        if self.kind is FinetuneConfig:
            data, part = self.validation
            if isinstance(saved.get("valid"), dict):
                found.append(result(data, part, saved["valid"]))
            found += over_runs(object_in(run / SUMMARY), data, part)
        for path in sorted(run.glob(f"evaluation-*/{METRICS}")):
            scores = object_in(path)
            about = scores.get("evaluated")
            if isinstance(about, dict) and not path.parent.name.endswith("-int8"):
                data = Data.of(str(about.get("data", "")))
                one = result(data, "test part" if data.known else "", scores)
                found.append(replace(one, warning=overlap_in(about.get("warnings"))))
        return found

    @property
    def validation(self) -> tuple[Data, str]:
        """Return the data of the validation examples, and the part that they are."""
        valid, train = self.options.get("valid"), Data.of(self.options["train"])
        if isinstance(valid, str):
            data = Data.of(valid)
            return data, "validation part" if data.known else ""
        if train.known is not None:
            return train, "validation part"
        share = self.options.get("valid_share", 0)
        return train, f"{100 * float(share):g} % of it, held out"


def result(data: Data, part: str, saved: Mapping[str, Any], model: str = "") -> Result:
    """Return the scores in what a metric has saved."""
    count = saved.get("examples")
    labels = saved.get("per_label")
    return Result(
        data,
        part,
        count if isinstance(count, int) else None,
        numbers(saved),
        model=model,
        by_label=labels if isinstance(labels, dict) else None,
    )


def overlap_in(warnings: object) -> str:
    """Return the warning that examples were trained on, without the file where that is."""
    texts = [text for text in warnings if isinstance(text, str)] if type(warnings) is list else []
    return next((t.partition(" The first is ")[0] for t in texts if "trained on" in t), "")


def over_runs(summary: Mapping[str, Any], data: Data, part: str) -> list[Result]:
    """Return the mean scores over seeds or folds."""
    scores, runs, over = summary.get("scores"), summary.get("runs"), summary.get("over")
    if not isinstance(scores, dict) or not isinstance(runs, dict):
        return []
    means = {name: value.get("mean") for name, value in scores.items() if isinstance(value, dict)}
    spread = {name: value.get("sd") for name, value in scores.items() if isinstance(value, dict)}
    count = max((len(s["values"]) for s in scores.values() if "values" in s), default=0)
    what = f"mean over {count} {over}" + ("" if over == "folds" else f", {part}" * bool(part))
    return [Result(data, what, None, numbers(means), numbers(spread))]


def numbers(saved: Mapping[str, Any]) -> dict[str, float]:
    """Select the scores: numbers other than the count of examples."""
    return {
        name: float(value)
        for name, value in saved.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "examples"
    }


def command(start: Sequence[str], kind: Any, options: Mapping[str, Any]) -> str:
    """Return the command line with these options, in which files have no folders."""
    return shlex.join(["plainformer", *start, *words_of(kind, options, public)])


def public(name: str, value: str) -> str:
    """Write the value of an option without the folders of a file, and the output as RUN."""
    if name == "out":
        return "RUN"
    if name in TEXTS or (name in ("model", "teacher") and hub_id(value)):
        return value
    return file_name(value)


def file_name(source: str) -> str:
    """Return the last part of a path or URL, without a query, in characters that can be written."""
    if "://" in source:
        source = urlparse(source).path
    name = PurePath(source.replace("\\", "/")).name or "data"
    return name.encode("utf-8", "replace").decode("utf-8")


def is_named(source: str) -> bool:
    """Tell whether a source is a set of the catalogue."""
    try:
        return is_set(source)
    except (UserError, OSError, ValueError):
        return False


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


def object_in(path: Path) -> Mapping[str, Any]:
    """Read a JSON object; an empty one where there is none to be read."""
    try:
        values: Mapping[str, Any] = Fields(read_json(path), path).values
    except (UserError, OSError):
        return {}
    return values
