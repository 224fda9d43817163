"""Open a model folder of any kind: the model, its tokenizer, and its task where it has one."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.base import UserError, find_folder
from plainformer.encoder.declared import load_declared
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import is_adapter, tokenizer_folder
from plainformer.encoder.weights.sentence import read_layout
from plainformer.finetune.data.batch import Item
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.prediction.predictor import encode_all
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import task_of
from plainformer.finetune.tuning import merge_added
from plainformer.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Opened:
    """A model with its tokenizer; `task` is None for one that was only pretrained."""

    task: AnyTask | None
    model: PretrainedModel
    tokenizer: Tokenizer

    @classmethod
    def of(cls, folder: str | Path) -> "Opened":
        """Open a folder; merge the added parameters of an adapter, where that is possible.

        Raises `UserError` for a folder without a model or a tokenizer.
        """
        folder = find_folder(folder)
        tokenizer = load_tokenizer(tokenizer_folder(folder))
        task = task_of(folder)
        layout = read_layout(folder)
        if layout is not None and layout.is_static:
            raise UserError(
                f"{folder}: static vectors are a table, with nothing to export or to make smaller: "
                "embed, evaluate and serve open it as it is"
            )
        model = load_declared(folder)[0] if task is None else task.load(folder)
        tokenizer.check_vocabulary(model.config.vocab_size)
        if is_adapter(folder):
            with contextlib.suppress(UserError):  # a prefix stays a part of its own
                merge_added(model)
        return cls(task, model.eval(), tokenizer)

    def items(self, source: str | None, texts: Sequence[str]) -> list[tuple[Any, Item]]:
        """Encode labelled examples of a file or set with the task, or `texts` as they are."""
        if source is None:
            return [(None, Item((self.tokenizer.encode(text),))) for text in texts]
        if self.task is None:
            raise UserError("the model has no task to be measured by: leave out the data")
        naming = self.task.naming((), self.task.columns)
        examples = read_examples(type(self.task), source, "test", naming)
        return list(encode_all(self.task, self.tokenizer, examples))
