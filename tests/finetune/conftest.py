import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from plainformer.base import write_text
from plainformer.finetune import FinetuneConfig
from plainformer.finetune.task_options import TaskOptions
from plainformer.tokenizer import Tokenizer
from tests.pretrain import tiny

settings.register_profile("shared cores", deadline=None)
settings.load_profile("shared cores")


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them: the same here and in child processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(kind: type[TaskOptions], **values: Any) -> FinetuneConfig:
    """The settings of a run whose task has these options; both are among `values`."""
    own = {field.name for field in fields(kind)} & values.keys()
    options = kind(**{name: values.pop(name) for name in own})
    return FinetuneConfig(**values, task=options)


@pytest.fixture(scope="package")
def tokenizer() -> Tokenizer:
    return tiny.make_tokenizer()


@pytest.fixture(scope="package")
def models(tokenizer, tmp_path_factory) -> dict[str, Path]:
    """A folder of each architecture, as pretraining would leave it; the weights are fresh."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    return {a: tiny.save_untrained(root / a, a, tokenizer) for a in ("bert", "modern")}


def rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences and whether their animal is a bird or a beast."""
    texts = tiny.sentences(count, seed)
    return [(t, "bird" if t.split()[2] in ("hen", "owl") else "beast") for t in texts]


@pytest.fixture(scope="package")
def files(tmp_path_factory) -> Callable[[str], str]:
    """The path of the learnable task's train.tsv, valid.tsv or test.tsv."""
    folder = tmp_path_factory.mktemp("task")
    for seed, split in enumerate(("train", "valid", "test")):
        lines = rows(300 if split == "train" else 50, seed)
        random.Random(seed).shuffle(lines)
        write_text(
            folder / f"{split}.tsv",
            "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in lines),
        )
    return lambda split: str(folder / f"{split}.tsv")
