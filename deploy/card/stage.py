"""Tell what a run did by its options: its stage, its data, and the command that repeats it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plainformer.base.hub import hub_id
from plainformer.deploy.card.names import file_name, object_in
from plainformer.deploy.card.results import Data, Result, over_runs, overlap_in, result
from plainformer.finetune import FinetuneConfig
from plainformer.pretrain import PretrainConfig
from plainformer.unparse import words_of

METRICS, SUMMARY = "metrics.json", "summary.json"
TEXTS = {"columns", "template", "templates", "verbaliser"}
"""Options with text in which a slash means no path."""


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
