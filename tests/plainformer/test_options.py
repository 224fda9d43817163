"""--config runs what another run wrote down, and says what is wrong with a file that is not one."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from plainformer.base import UserError, write_json
from plainformer.finetune import (
    TASKS,
    ClassificationOptions,
    FinetuneConfig,
    MultiLabelOptions,
    MultipleChoiceOptions,
    PromptOptions,
    QuestionAnsweringOptions,
    RegressionOptions,
    RelationOptions,
    SentenceEmbeddingOptions,
    TaggingOptions,
)
from plainformer.finetune.task_options import TaskOptions
from plainformer.options import load, parse
from plainformer.pretrain import RECIPES, PretrainConfig
from plainformer.training import TrainingConfig

PRETRAIN = PretrainConfig(
    corpus=("a.txt", "b c.txt"),
    tokenizer=Path("tok"),
    out=Path("run"),
    masking="words",
    objective=("mlm", "sop"),
    mask_ratio=0.3,
    training=TrainingConfig(steps=7, betas=(0.8, 0.9), schedule="cosine"),
)
PATHS: dict[str, Any] = {"model": Path("m"), "train": "a.csv", "out": Path("o")}
TASK_OPTIONS: dict[str, tuple[TaskOptions, list[str]]] = {
    "classification": (
        ClassificationOptions(pooling="mean", balance="focal", tune_threshold=True),
        ["--pooling", "mean", "--balance", "focal", "--tune-threshold"],
    ),
    "multi-label": (
        MultiLabelOptions(balance="weights", overflow="windows"),
        ["--balance", "weights", "--overflow", "windows"],
    ),
    "multiple-choice": (MultipleChoiceOptions(pooling="cls"), ["--pooling", "cls"]),
    "prompt": (
        PromptOptions(template="{text} [MASK]", verbaliser="a=b,c=d"),
        ["--template", "{text} [MASK]", "--verbaliser", "a=b,c=d"],
    ),
    "question-answering": (QuestionAnsweringOptions(), []),
    "regression": (RegressionOptions(overflow="windows"), ["--overflow", "windows"]),
    "relation": (RelationOptions(per_label=9), ["--per-label", "9"]),
    "sentence-embedding": (SentenceEmbeddingOptions(pooling="cls"), ["--pooling", "cls"]),
    "tagging": (TaggingOptions(crf=True), ["--crf"]),
}
FINETUNE = FinetuneConfig(**PATHS, valid="b.csv", task=ClassificationOptions(per_label=3))


@pytest.mark.parametrize("options", [PRETRAIN, FINETUNE], ids=["pretrain", "finetune"])
def test_options_come_back(options, tmp_path):
    write_json(tmp_path / "options.json", asdict(options))
    assert load(type(options), tmp_path / "options.json") == options
    for arguments in (
        ["--config", str(tmp_path / "options.json")],
        [f"--config={tmp_path / 'options.json'}"],
    ):
        assert parse(type(options), "x", arguments) == options


@pytest.mark.parametrize("task", TASKS)
def test_the_options_of_every_task_come_back(task, tmp_path):
    options, words = TASK_OPTIONS[task]
    config = FinetuneConfig(**PATHS, epochs=2.0, task=options)
    line = ["--model", "m", "--train", "a.csv", "--out", "o", "--epochs", "2"]
    assert parse(FinetuneConfig, "finetune", [task, *line, *words]) == config
    write_json(tmp_path / "options.json", asdict(config))
    file = ["--config", str(tmp_path / "options.json")]
    assert parse(FinetuneConfig, "finetune", file) == config
    assert parse(FinetuneConfig, "finetune", [task, *file]) == config
    assert config.kind is TASKS[task] and type(options) is TASKS[task].Options


def test_another_task_than_the_files_has_its_own_defaults(tmp_path):
    config = FinetuneConfig(**PATHS, epochs=2.0, task=TaggingOptions(crf=True, overflow="windows"))
    write_json(tmp_path / "options.json", asdict(config))
    file = ["--config", str(tmp_path / "options.json")]
    changed = parse(FinetuneConfig, "finetune", ["regression", *file, "--pooling", "mean"])
    assert changed == replace(config, task=RegressionOptions(pooling="mean"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (["tagger"], "there is no task 'tagger'; did you mean tagging?"),
        (["poetry"], "there is no task 'poetry': classification, multi-label, "),
        (["--crf"], "there is no option --crf of classification, but of tagging"),
        (["relation", "--no-crf"], "there is no option --no-crf of relation, but of tagging"),
        (["tagging", "--per-label=3"], "of tagging, but of classification, prompt, relation"),
        (["--per-label", "-1"], "per_label must be at least 0, not -1"),
        (["relation", "--overflow=windows"], "--overflow of relation, but of classification, mul"),
        (["--task", "tagging"], "there is no option --task: the first argument is the task"),
        (["--name", "tagging"], "there is no option --name"),
        (["--steps", "3"], "there is no option --steps"),
        (["--parallel", "fsdp"], "there is no option --parallel"),
        (["prompt"], "missing --model, --train, --out, --verbaliser"),
        (["multi-label", "--balance", "sampling"], "must be one of none, weights, focal, not 'sa"),
        (["--tune-threshold", "--folds", "3"], "tune_threshold needs validation examples"),
    ],
)
def test_an_option_belongs_to_its_task(line, fault):
    if line != ["prompt"]:
        line = [*line, "--model", "m", "--train", "t", "--out", "o"]
    with pytest.raises(UserError) as error:
        parse(FinetuneConfig, "finetune", line)
    assert fault in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ("tagging", "task must be an object, not the text 'tagging'"),
        ({"crf": True}, "missing fields name in task"),
        ({"name": "tagging", "pooling": "cls"}, "unknown fields pooling in task"),
        ({"name": "poetry"}, "task.name must be one of classification, multi-label, "),
    ],
)
def test_a_task_that_is_none_is_named(task, fault, tmp_path):
    write_json(tmp_path / "o.json", {**asdict(FINETUNE), "task": task})
    with pytest.raises(UserError, match=rf"o\.json: {fault}"):
        load(FinetuneConfig, tmp_path / "o.json")


def test_the_line_has_the_last_word(tmp_path):
    write_json(tmp_path / "o.json", asdict(PRETRAIN))
    line = ["--out", "other", "--config", str(tmp_path / "o.json"), "--steps", "9"]
    changed = replace(PRETRAIN, out=Path("other"), training=replace(PRETRAIN.training, steps=9))
    assert parse(PretrainConfig, "pretrain", line) == changed
    assert parse(PretrainConfig, "pretrain", [*line, "--masking", "spans"]).masking == "spans"
    alone = parse(PretrainConfig, "pretrain", [*line, "--objective", "mlm"])
    assert alone.objective == ("mlm",)


def test_the_line_alone():
    line = ["--corpus", "a.txt", "b.txt", "--tokenizer", "t", "--out", "o"]
    line += ["--learning-rate", "1e-2", "--betas", "0.5", "0.6"]
    options = parse(PretrainConfig, "pretrain", line)
    assert options.corpus == ("a.txt", "b.txt")
    assert (options.training.learning_rate, options.training.betas) == (0.01, (0.5, 0.6))
    assert options.training.schedule == "wsd"  # pretraining's own default


def test_what_a_file_leaves_out_is_the_commands_default(tmp_path):
    values = {"corpus": ["a"], "tokenizer": "t", "out": "o", "training": {"steps": 3}}
    write_json(tmp_path / "o.json", values)
    options = load(PretrainConfig, tmp_path / "o.json")
    plain = PretrainConfig(("a",), tokenizer=Path("t"), out=Path("o"))
    assert options == replace(plain, training=replace(plain.training, steps=3))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"max_length": "long"}, "max_length must be a whole number, not the text 'long'"),
        ({"max_length": 12.5}, "max_length must be a whole number, not 12.5"),
        ({"max_length": True}, "max_length must be a whole number, not true"),
        ({"mask_ratio": "0.3"}, "mask_ratio must be a number or null, not the text '0.3'"),
        ({"masking": 1}, "masking must be one of tokens, words, spans, not 1"),
        ({"objective": ["mlm", 1]}, "objective must be a text, not 1"),
        ({"out": 5}, "out must be a path, not 5"),
        ({"corpus": "a.txt"}, "corpus must be a list, not the text 'a.txt'"),
        ({"corpus": ["a", 1]}, "corpus must be a text, not 1"),
        ({"masking": None}, "masking must be one of tokens, words, spans, not null"),
        ({"training": 3}, "training must be an object, not 3"),
        ({"training": {"betas": [0.9]}}, r"training.betas must be a list of 2, not of 1"),
        (
            {"training": {"schedule": "up"}},
            "training.schedule must be one of linear, .*, not the text 'up'",
        ),
        ({"training": {"stepz": 3}}, "unknown fields stepz in training; did you mean steps?"),
        ({"maxlength": 3, "a": 1}, "unknown fields a, maxlength"),
        ({"mask_ratio": 7}, "mask_ratio must be between 0 and 1, not 7"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, changes, fault):
    write_json(tmp_path / "o.json", {**asdict(PRETRAIN), **changes})
    with pytest.raises(UserError, match=rf"o\.json: {fault}"):
        load(PretrainConfig, tmp_path / "o.json")


def test_a_missing_value_is_named(tmp_path):
    write_json(tmp_path / "o.json", {"tokenizer": "t", "out": "o"})
    with pytest.raises(UserError, match=r"o\.json: missing fields corpus"):
        load(PretrainConfig, tmp_path / "o.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b"3"])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "o.json").write_bytes(content)
    with pytest.raises(UserError, match=r"o\.json"):
        load(PretrainConfig, tmp_path / "o.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json"):
        parse(PretrainConfig, "pretrain", ["--config", str(tmp_path / "none.json")])
    with pytest.raises(UserError, match="--config needs a file"):
        parse(PretrainConfig, "pretrain", ["--config"])


@dataclass(frozen=True)
class Sorts:
    """Every sort of field."""

    path: Path | None = None
    number: float = 0.5
    choice: Literal["a", "b"] = "a"


@pytest.mark.parametrize("path", [None, "x/y"])
def test_what_may_be_missing(tmp_path, path):
    (tmp_path / "o.json").write_text(json.dumps({"path": path, "number": 2, "choice": "b"}))
    wanted = Sorts(None if path is None else Path(path), 2.0, "b")
    assert load(Sorts, tmp_path / "o.json") == wanted


LINE = ["--corpus", "a.txt", "--tokenizer", "t", "--out", "o"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_what_is_not_on_the_line(name):
    for given in (["--recipe", name], [f"--recipe={name}"]):
        options = parse(PretrainConfig, "pretrain", [*LINE, *given, "--steps", "9"], RECIPES)
        plain = parse(PretrainConfig, "pretrain", [*LINE, *RECIPES[name].split()])
        assert options == replace(plain, training=replace(plain.training, steps=9))


def test_the_recipe_of_bert_is_the_published_one():
    options = parse(PretrainConfig, "pretrain", [*LINE, "--recipe", "bert"], RECIPES)
    assert options.batch_tokens * options.accumulate == 256 * 512
    assert options.objective == ("mlm", "nsp")
    assert options.training.warmup * options.training.steps == 10_000
    assert options.training.optimizer == "adamw"
    assert parse(PretrainConfig, "pretrain", [*LINE, "--recipe", "modern"], RECIPES) == parse(
        PretrainConfig, "pretrain", LINE
    )


@pytest.mark.parametrize("given", [["--recipe"], ["--recipe", "cake"]])
def test_there_is_no_such_recipe(given):
    with pytest.raises(UserError, match="modern or bert"):
        parse(PretrainConfig, "pretrain", [*LINE, *given], RECIPES)
