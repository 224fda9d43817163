"""`unparse.words_of` and `options.parse` are the inverse of each other."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from plainformer.base import as_json
from plainformer.deploy.shrink import ShrinkOptions
from plainformer.finetune import FinetuneConfig
from plainformer.options import parse
from plainformer.pretrain import RECIPES, PretrainConfig
from plainformer.training import LoopConfig
from plainformer.unparse import words_of

FINETUNED = {
    "defaults": "--model m --train t --out o",
    "a task": "tagging --model m --train t --out o --crf --overflow windows --seeds 5 --no-select",
    "texts": "prompt --model m --train t --out o --verbaliser good=a,bad=b --template",
    "many": "--model a/b --train t --out o --lora 8 --lora-targets query key --epochs 0.5 "
    "--fgm 1e-3 --columns text=x label=y --betas 0.5 0.25 --augment 2 "
    "--augment-synonyms none --patience 3",
}


@pytest.mark.parametrize("name", FINETUNED)
def test_finetune(name: str) -> None:
    words = FINETUNED[name].split()
    words += ["--it [MASK]\nwas: {text}"] if name == "texts" else []
    if name == "texts":
        words[-2:] = [f"--template={words[-1]}"]
    config = parse(FinetuneConfig, "finetune", words)
    again = words_of(FinetuneConfig, as_json(asdict(config)))
    assert parse(FinetuneConfig, "finetune", again) == config
    assert name != "defaults" or again == ["classification", *words]


def test_pretrain() -> None:
    """Of a run that continues, all that differs from the defaults is said, whatever the recipe."""
    line = "--recipe bert --corpus a b --tokenizer t --out o --budget 90s --steps 7"
    config = parse(PretrainConfig, "pretrain", line.split(), RECIPES)
    again = words_of(PretrainConfig, as_json(asdict(config)))
    assert parse(PretrainConfig, "pretrain", again, RECIPES) == config


def test_values_of_python() -> None:
    options = ShrinkOptions(layers=4, train="x.csv", int8="dynamic")
    assert words_of(ShrinkOptions, asdict(options)) == [
        *("--layers", "4", "--train", "x.csv", "--int8", "dynamic")
    ]
    config = FinetuneConfig(Path("m"), "t", Path("o"))
    loop = replace(config.training, learning_rate=3e-5)
    assert isinstance(loop, LoopConfig)
    words = words_of(FinetuneConfig, asdict(replace(config, training=loop)))
    assert words[-2:] == ["--learning-rate", "3e-05"]
    assert parse(FinetuneConfig, "finetune", words).training == loop
