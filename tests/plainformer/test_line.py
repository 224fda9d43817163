"""The words behind a command: what they mean, and one line for each way to get them wrong."""

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from plainformer.base import UserError
from plainformer.commands.calibrate import CalibrateOptions
from plainformer.commands.compare import CompareOptions
from plainformer.commands.corpus import CorpusOptions
from plainformer.commands.embed import EmbedOptions
from plainformer.commands.export import ExportOptions
from plainformer.commands.fairness import FairnessOptions
from plainformer.commands.fill_mask import FillMaskOptions
from plainformer.commands.inspect.attention import AttentionOptions
from plainformer.commands.inspect.heads import HeadsOptions
from plainformer.commands.inspect.influence import InfluenceOptions
from plainformer.commands.inspect.layers import LayersOptions
from plainformer.commands.inspect.map import MapOptions
from plainformer.commands.inspect.neighbours import NeighboursOptions
from plainformer.commands.propose import ProposeOptions
from plainformer.commands.serve import ServeOptions
from plainformer.commands.stress import StressOptions
from plainformer.commands.tokenizer import TrainOptions
from plainformer.demo import DemoOptions
from plainformer.deploy.shrink.options import ShrinkOptions
from plainformer.finetune import (
    AugmentOptions,
    DistillationOptions,
    FairOptions,
    FinetuneConfig,
    RobustOptions,
    TuningOptions,
    UnlabelledOptions,
)
from plainformer.finetune.continual.config import ContinualConfig
from plainformer.finetune.continual.options import ContinualOptions
from plainformer.finetune.multitask import MultitaskConfig
from plainformer.finetune.search.options import SearchConfig
from plainformer.line import Option, Positional, options_of
from plainformer.options import parse
from plainformer.pretrain import PretrainConfig
from plainformer.training import LoopConfig, TrainingConfig


@dataclass(frozen=True)
class Inner:
    """Settings within settings."""

    rate: float = 0.5
    betas: tuple[float, float] = (0.8, 0.9)


@dataclass(frozen=True)
class Every:
    """An option of every kind."""

    model: Positional[Path]
    """A folder."""
    text: tuple[str, ...]
    """Texts."""
    out: Path | None = None
    """A file."""
    count: int = 3
    """A number."""
    limit: int | None = None
    """A number, or none."""
    lowercase: bool = True
    """Yes or no."""
    kind: Literal["wordpiece", "unigram"] = "wordpiece"
    """One of two."""
    inner: Inner = field(default_factory=lambda: Inner(rate=0.25))
    """More."""


LINE = ("dir", "--text", "a")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (LINE, {}),
        (("--text", "a", "b c", "--", "dir"), {"text": ("a", "b c")}),
        (("--text=a", "dir"), {}),
        ((*LINE, "--text", "x", "y"), {"text": ("x", "y")}),
        (("dir", "--text", "--an option of words", "-x"), {"text": ("--an option of words", "-x")}),
        (("dir", "--text", "-- no option", "-5"), {"text": ("-- no option", "-5")}),
        (("dir", "--text=--count"), {"text": ("--count",)}),
        (("dir", "--text", ""), {"text": ("",)}),
        ((*LINE, "--count", "-7"), {"count": -7}),
        ((*LINE, "--count=12"), {"count": 12}),
        ((*LINE, "--limit", "5", "--limit", "None"), {"limit": None}),
        ((*LINE, "--limit", "5"), {"limit": 5}),
        ((*LINE, "--no-lowercase"), {"lowercase": False}),
        ((*LINE, "--no-lowercase", "--lowercase"), {"lowercase": True}),
        ((*LINE, "--kind", "unigram"), {"kind": "unigram"}),
        ((*LINE, "--out", "x y"), {"out": Path("x y")}),
        ((*LINE, "--rate", "1e-3"), {"inner": Inner(0.001)}),
        ((*LINE, "--betas", "0.1", "0.2"), {"inner": Inner(0.25, (0.1, 0.2))}),
    ],
)
def test_what_the_words_mean(line: tuple[str, ...], values: dict[str, Any]) -> None:
    wanted = {"model": Path("dir"), "text": ("a",), "inner": Inner(0.25), **values}
    assert parse(Every, "x", line) == Every(**wanted)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ((), "missing MODEL, --text (see plainformer x --help)"),
        (("dir",), "missing --text (see"),
        (("dir", "--text", "--", "x"), "--text needs a value"),
        (("--text", "a", "dir"), "missing MODEL (see"),
        (("dir", "--text"), "--text needs a value"),
        (("dir", "--text", "--count", "3"), "--text needs a value"),
        ((*LINE, "--cuont", "3"), "there is no option --cuont; did you mean --count?"),
        ((*LINE, "--lower-case"), "there is no option --lower-case; did you mean --lowercase?"),
        ((*LINE, "--no-count"), "there is no option --no-count"),
        ((*LINE, "--zzz=" + "z" * 500), "there is no option --zzz"),
        ((*LINE, "--count"), "--count needs a value"),
        ((*LINE, "--count", "many"), "--count must be a whole number, not 'many'"),
        ((*LINE, "--count", "1.5"), "--count must be a whole number, not '1.5'"),
        ((*LINE, "--count", ""), "--count must not be empty"),
        ((*LINE, "--count="), "--count must not be empty"),
        ((*LINE, "--count", "9" * 20), "count must be a whole number of at most 19 digits"),
        ((*LINE, "--count", "9" * 5000), "--count must be a whole number, not '999"),
        ((*LINE, "--rate", "fast"), "--rate must be a number, not 'fast'"),
        ((*LINE, "--betas", "0.1"), "--betas needs 2 values"),
        ((*LINE, "--betas", "0.1", "x"), "--betas must be a number, not 'x'"),
        ((*LINE, "--kind", "unigrams"), "must be one of wordpiece, unigram, not 'unigrams'; did"),
        ((*LINE, "--kind", "poetry"), "--kind must be one of wordpiece, unigram, not 'poetry'"),
        ((*LINE, "--lowercase=yes"), "--lowercase takes no value: say --lowercase, or --no-lower"),
        ((*LINE, "--out", ""), "--out must not be empty"),
        (("", "--text", "a"), "MODEL must not be empty"),
        (("dir", "more", "--text", "a"), "unexpected argument 'more'"),
        ((*LINE, "--config"), "--config needs a file"),
        ((*LINE, "--config", ""), "--config needs a file"),
        ((*LINE, "--config", "no.json"), "no.json cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(line: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as error:
        parse(Every, "x", line)
    assert says in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


NUMBERS: dict[type[Any], dict[str, Any]] = {
    PretrainConfig: {"corpus": ("a",), "tokenizer": Path("t"), "out": Path("o")},
    FinetuneConfig: {"model": Path("m"), "train": "t", "valid": "v", "out": Path("o")},
    LoopConfig: {},
    AugmentOptions: {},
    DistillationOptions: {"teacher": (Path("t"),)},
    RobustOptions: {},
    FairOptions: {"group": "g"},
    TuningOptions: {},
    UnlabelledOptions: {"unlabelled": "f"},
    ContinualOptions: {},
    SearchConfig: {"model": Path("m"), "train": "t", "out": Path("o")},
    MultitaskConfig: {"model": Path("m"), "tasks": Path("t"), "out": Path("o")},
    ContinualConfig: {"model": Path("m"), "tasks": Path("t"), "out": Path("o")},
    CalibrateOptions: {"run": Path("r"), "data": "d"},
    ProposeOptions: {"run": Path("r"), "file": "f", "out": Path("o")},
    ExportOptions: {"model": Path("m"), "out": Path("o")},
    ShrinkOptions: {"layers": 1, "train": "t"},
    ServeOptions: {"run": (Path("r"),)},
    TrainingConfig: {},
    TrainOptions: {"files": ("a",), "out": Path("o")},
    CorpusOptions: {"files": ("a",), "tokenizer": Path("t"), "out": Path("o")},
    EmbedOptions: {"model": Path("m"), "out": Path("o.npy"), "text": ("a",)},
    FairnessOptions: {"run": Path("r"), "data": "f", "group": ("g",)},
    FillMaskOptions: {"model": Path("m"), "text": ("a",)},
    CompareOptions: {"model": Path("m")},
    AttentionOptions: {},
    HeadsOptions: {"data": "f"},
    InfluenceOptions: {},
    LayersOptions: {"data": "f"},
    MapOptions: {"data": "f", "out": Path("o.png")},
    NeighboursOptions: {},
    DemoOptions: {},
    StressOptions: {"run": Path("r"), "data": "d"},
}
"""the commands that take numbers, and what must be given beside these"""


def numbers_of(kind: type[Any]) -> list[Option]:
    """The options of a dataclass that are numbers, without those of the dataclasses within it."""
    own = [option for option in options_of(kind) if len(option.field) == 1]
    return [o for o in own if {int, float} & {o.hint, *getattr(o.hint, "__args__", ())}]


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.__name__)
def test_no_number_is_without_bounds(kind: type[Any]) -> None:
    """Whatever the option: not infinite, no NaN, not below zero, not of twenty digits."""
    kind(**NUMBERS[kind])
    numbers = numbers_of(kind)
    assert numbers
    for option in numbers:
        of_floats = float in (option.hint, *getattr(option.hint, "__args__", ()))
        for value in (-1, 10**20, *([float("nan"), float("inf")] if of_floats else [])):
            given = (value, value) if option.size == 2 else value
            with pytest.raises(UserError, match=f"{option.field[0]} must be "):
                kind(**{**NUMBERS[kind], option.field[0]: given})


def test_every_dataclass_of_numbers_is_in_the_table() -> None:
    inner = {f.type for kind in NUMBERS for f in fields(kind) if is_dataclass(f.type)}
    assert {kind for kind in inner if numbers_of(kind)} <= NUMBERS.keys()


@pytest.mark.parametrize(
    "device", ["meta", "vulkan", "cuda:99999999999", "cuda:-1", "CPU", "", "cpu:", "x" * 5000]
)
def test_no_unknown_device(device: str) -> None:
    with pytest.raises(UserError, match="device must be auto, cpu, cuda") as error:
        TrainingConfig(device=device)
    assert len(str(error.value)) < 200
