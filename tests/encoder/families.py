"""Every family with every head: their config, their random model, and ours loaded from it."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plainformer.encoder import (
    ChoiceScorer,
    Encoder,
    MaskedLM,
    QuestionAnswerer,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.weights import FAMILIES
from tests.encoder.tools import VOCAB, padded, randomise

transformers = pytest.importorskip("transformers")
logging.getLogger("transformers").setLevel(logging.ERROR)

LENGTHS = [17, 1, 9, 30, 9]
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": {**SIZES, "type_vocab_size": 1, "max_position_embeddings": 42},
    "xlm-roberta": {**SIZES, "type_vocab_size": 1, "max_position_embeddings": 42},
    "camembert": {**SIZES, "pad_token_id": 2, "max_position_embeddings": 43},
    "distilbert": {
        "vocab_size": VOCAB,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 40,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "electra": {**SIZES, "embedding_size": 16},
    "albert": {**SIZES, "embedding_size": 16, "num_hidden_layers": 3},
    "mpnet": {**SIZES, "max_position_embeddings": 42},
    "modernbert": {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "local_attention": 4,
        "pad_token_id": 3,
        "norm_bias": True,
        "attention_bias": True,
        "mlp_bias": True,
    },
}
OURS = {
    model.__name__: model
    for model in (
        Encoder,
        MaskedLM,
        SequenceClassifier,
        ChoiceScorer,
        TokenClassifier,
        QuestionAnswerer,
    )
}
FAMILY = pytest.mark.parametrize("family", list(CONFIGS))
HEAD = pytest.mark.parametrize("head", [head for head in OURS if head != "Encoder"])
EVERY = pytest.mark.parametrize("head", list(OURS))
PRECISION = pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["single", "double"]
)


def their_class(family: str, head: str) -> Any:
    return getattr(transformers, FAMILIES[family].architectures[head])


def their_config(family: str, head: str = "Encoder", **changes: Any) -> Any:
    labels = {"num_labels": 2 if head == "QuestionAnswerer" else 3}
    return their_class(family, head).config_class(**{**CONFIGS[family], **labels, **changes})


def pair(
    family: str, head: str, folder: Path, attention: str = "sdpa", **changes: Any
) -> tuple[Any, Any]:
    """Their model with random parameters, and ours loaded from what they saved."""
    config = their_config(family, head, **changes)
    config._attn_implementation = "eager" if family == "mpnet" else attention
    theirs = randomise(their_class(family, head)(config))
    theirs.save_pretrained(folder)
    return theirs, OURS[head].from_pretrained(folder)


def inputs(family: str) -> dict[str, Tensor]:
    """A padded batch: token types as far as the family has them, its own id on the padding."""
    batch = padded(LENGTHS)
    config = their_config(family)
    batch["input_ids"][batch["attention_mask"] == 0] = config.pad_token_id
    segments = FAMILIES[family].read_config(CONFIGS[family]).type_vocab_size
    if segments:
        batch["token_type_ids"] %= segments
    else:
        del batch["token_type_ids"]
    return batch


def rotate_without_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ModernBERT rounds queries and keys to float32; their Llama, the same formula, not."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
    from transformers.models.modernbert import modeling_modernbert

    monkeypatch.setattr(modeling_modernbert, "apply_rotary_pos_emb", apply_rotary_pos_emb)
