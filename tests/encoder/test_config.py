"""The config: presets build, contradictions are refused in words, nothing changes afterwards."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import PRESETS, Encoder, EncoderConfig
from tests.encoder.tools import bert, padded

ARCHITECTURES = "bert, roberta, xlm-roberta, camembert, distilbert, electra, albert, mpnet, modern"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be a whole number, at least 1, not 0"),
        ({"hidden_size": -8}, "hidden_size must be a whole number, at least 1, not -8"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"intermediate_size": 0}, "intermediate_size"),
        ({"max_position_embeddings": 0}, "max_position_embeddings"),
        ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers"),
        ({"type_vocab_size": -1}, "type_vocab_size must be a whole number, at least 0"),
        ({"hidden_size": 30}, "hidden_size 30 is not divisible by num_attention_heads 4"),
        ({"hidden_size": 12, "positions": "rotary"}, "need an even head size, not 3"),
        (
            {"hidden_size": 3, "num_attention_heads": 3, "positions": "sinusoidal"},
            "need an even size, not 3",
        ),
        ({"pad_token_id": 61}, "pad_token_id 61 is outside the vocabulary of 61"),
        ({"pad_token_id": -1}, "pad_token_id"),
        ({"local_attention": 3}, "local_attention must be even, not 3"),
        ({"local_attention": -2}, "local_attention"),
        ({"embedding_size": -1}, "embedding_size must be a whole number, at least 0"),
        ({"position_offset": -1}, "position_offset must be a whole number, at least 0"),
        ({"embedding_size": 5, "positions": "sinusoidal"}, "need an even size, not 5"),
        ({"relative_bias": True, "positions": "alibi"}, "choose one"),
        ({"share_layers": True, "norm_order": "pre"}, "share_layers needs"),
        ({"share_layers": True, "local_attention": 4}, "share_layers needs"),
        ({"norm_eps": -1e-5}, "norm_eps must be a number, at least 0"),
        ({"embedding_dropout": 1.0}, r"embedding_dropout must be in \[0, 1\), not 1.0"),
        ({"hidden_dropout": 1.5}, "hidden_dropout"),
        ({"attention_dropout": -0.1}, "attention_dropout"),
        ({"classifier_dropout": 2.0}, "classifier_dropout"),
    ],
)
def test_contradictions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bert(**changes)


def test_values_of_another_type() -> None:
    """In a process of its own, where the shape checks of the tests do not stand before ours."""
    program = """
from plainformer.base import UserError
from plainformer.encoder import EncoderConfig
for changes in (dict(hidden_size="big"), dict(vocab_size=None), dict(num_hidden_layers=2.5),
                dict(norm_eps="small"), dict(hidden_dropout=None), dict(gated="yes"),
                dict(architecture=["bert"]), dict(architecture="gpt"), dict(positions="none"),
                dict(norm="batch_norm"), dict(norm_order="middle")):
    try:
        EncoderConfig(**changes)
    except UserError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.splitlines() == [
        "hidden_size must be a whole number, at least 1, not 'big'",
        "vocab_size must be a whole number, at least 1, not None",
        "num_hidden_layers must be a whole number, at least 1, not 2.5",
        "norm_eps must be a number, at least 0, not 'small'",
        "hidden_dropout must be a number, at least 0, not None",
        "gated must be true or false, not 'yes'",
        "unknown architecture ['bert']: choose one of " + ARCHITECTURES,
        "unknown architecture 'gpt': choose one of " + ARCHITECTURES,
        "unknown positions 'none': choose one of learned, sinusoidal, rotary, alibi",
        "unknown norm 'batch_norm': choose one of layer_norm, rms_norm",
        "unknown norm_order 'middle': choose one of post, pre",
    ]


def test_the_smallest_values() -> None:
    config = EncoderConfig(
        vocab_size=1,
        hidden_size=1,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=1,
        max_position_embeddings=1,
        type_vocab_size=0,
    )
    assert Encoder(config)(torch.zeros(1, 1, dtype=torch.int64)).last_hidden_state.shape == (
        1,
        1,
        1,
    )


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        bert().hidden_size = 8
    assert hash(bert()) == hash(bert())


# Other tests add specks to them.
@pytest.mark.parametrize("name", [name for name in PRESETS if not name.endswith("-speck")])
def test_presets_build(name: str) -> None:
    with torch.device("meta"):
        model = Encoder(EncoderConfig.preset(name))
    assert model.config.head_size == 64
    assert (model.pooler is not None) == name.startswith(("bert", "albert"))


def test_presets_with_changes() -> None:
    config = EncoderConfig.preset("bert-tiny", vocab_size=77, positions="alibi")
    assert (config.vocab_size, config.positions, config.hidden_size) == (77, "alibi", 128)
    with pytest.raises(UserError, match="unknown preset 'bert-huge': choose one of bert-tiny"):
        EncoderConfig.preset("bert-huge")
    with pytest.raises(UserError, match="pad_token_id 50283 is outside the vocabulary of 100"):
        EncoderConfig.preset("modern-tiny", vocab_size=100)


def test_layers_and_their_windows() -> None:
    modern = EncoderConfig.preset("modern-base")
    assert [i for i in range(22) if not modern.is_local(i)] == [0, 3, 6, 9, 12, 15, 18, 21]
    model = Encoder(EncoderConfig.preset("modern-tiny", vocab_size=50284))
    windows: list[int | None] = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _, inputs: windows.append(inputs[1].window))
    model(torch.ones(1, 3, dtype=torch.long))
    assert windows == [None, 64, 64, None]
    assert not any(bert().is_local(i) for i in range(9))


def test_another_dropout() -> None:
    config = bert(attention_dropout=0.1).with_dropout(0.4)
    shares = (config.embedding_dropout, config.hidden_dropout, config.classifier_dropout)
    assert shares == (0.4, 0.4, 0.4)
    assert config.attention_dropout == 0.1
    assert config.with_dropout(0.0).attention_dropout == 0.0


def test_token_types_can_be_left_out() -> None:
    model = Encoder(bert(type_vocab_size=0))
    assert model.embeddings.segments is None
    batch = padded([3])
    del batch["token_type_ids"]
    model(**batch)
