"""What runs are measured on is the same whatever their batches are, and is said by fingerprints."""

from dataclasses import replace
from pathlib import Path

import pytest

from plainformer.pretrain import PretrainConfig
from plainformer.pretrain.evaluation import Evaluation
from plainformer.pretrain.objectives import choose_objective
from plainformer.tokenizer import Tokenizer
from tests.pretrain import tiny

CONFIG = PretrainConfig(corpus=("x",), tokenizer=Path("t"), out=Path("o"), max_length=32)


def measured(config: PretrainConfig, tokenizer: Tokenizer, seed: int = 0) -> dict[str, object]:
    objective = choose_objective(config.objective)
    text = objective.read(config, [tiny.shard(tiny.sentences(60, seed), tokenizer)], tokenizer)
    evaluation = Evaluation.of(config, objective, tokenizer, {"": text}, per_character=False)
    return evaluation.fingerprint(config, tokenizer)


def test_runs_that_differ_in_training_are_measured_alike(wordpiece: Tokenizer) -> None:
    said = measured(CONFIG, wordpiece)
    assert said == measured(CONFIG, wordpiece)
    for changes in (
        {"batch_tokens": 64},
        {"mask_ratio": 0.4, "masking": "spans"},
        {"training": replace(CONFIG.training, seed=5)},
    ):
        assert measured(replace(CONFIG, **changes), wordpiece) == said


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"objective": ("clm",)}, {"objective", "batches"}),
        ({"max_length": 16}, {"batches"}),
        ({"valid_tokens": 100, "max_length": 8}, {"batches"}),
        ({"objective": ("rtd",)}, {"objective"}),
    ],
)
def test_what_else_is_asked_shows(changes, differing, wordpiece: Tokenizer) -> None:
    one, other = measured(CONFIG, wordpiece), measured(replace(CONFIG, **changes), wordpiece)
    assert {name for name in one if one[name] != other[name]} == differing


def test_other_text_and_another_tokenizer_show(wordpiece: Tokenizer) -> None:
    said = measured(CONFIG, wordpiece)
    assert measured(CONFIG, wordpiece, seed=1)["batches"] != said["batches"]
    assert measured(CONFIG, tiny.make_tokenizer("bpe"))["tokenizer"] != said["tokenizer"]
