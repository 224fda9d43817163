"""A toy language, and small tokenizers and models that are made for it in a moment.

Importing this adds presets that train in seconds.
"""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from plainformer.encoder import EncoderConfig, MaskedLM
from plainformer.encoder.config import PRESETS
from plainformer.pretrain.corpus.shards import Shard, Tokens
from plainformer.tokenizer import Tokenizer, train_tokenizer
from plainformer.tokenizer.train import Kind

ANIMALS = ["cat", "dog", "cow", "hen", "fox", "owl", "bee", "ant"]
DEEDS = ["eats", "hunts", "chews", "pecks", "steals", "grabs", "sips", "hauls"]
FOOD = ["fish", "bones", "grass", "corn", "eggs", "mice", "nectar", "crumbs"]
COLOURS = ["red", "blue", "green", "black", "white", "brown", "grey", "pink"]
PRESET = "modern-speck"
SHAPE = replace(
    PRESETS["modern-tiny"],
    num_hidden_layers=2,
    hidden_size=32,
    num_attention_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    local_attention=8,
    global_attn_every_n_layers=2,
)
PRESETS[PRESET] = SHAPE
for family in ("bert", "albert", "electra"):
    PRESETS[f"{family}-speck"] = replace(
        PRESETS[f"{family}-tiny"],
        num_hidden_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        embedding_size=0 if family == "bert" else 16,
    )


def sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences in which each word but the colour and the animal follows from the others."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        colour, i = rng.choice(COLOURS), rng.randrange(len(ANIMALS))
        rows.append(f"the {colour} {ANIMALS[i]} {DEEDS[i]} the {colour} {FOOD[i]} .")
    return rows


def make_tokenizer(kind: Kind = "wordpiece") -> Tokenizer:
    """A tokenizer of the toy language that leaves some of its words in several pieces."""
    size = 60 if kind == "wordpiece" else 300
    return train_tokenizer(sentences(400), kind=kind, vocab_size=size)


def shape(architecture: str, tokenizer: Tokenizer) -> EncoderConfig:
    """A speck of a model of either architecture."""
    sizes = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    if architecture == "modern":
        return replace(SHAPE, **sizes)
    return EncoderConfig(
        num_hidden_layers=1,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        **sizes,
    )


def shard(texts: list[str], tokenizer: Tokenizer) -> Shard:
    """The shard that these texts come to."""
    tokens = Tokens.of(texts, tokenizer)
    return Shard(tokens.ids, np.concatenate([[0], np.cumsum(tokens.sizes)]), tokens.words)


def save_untrained(folder: Path, architecture: str, tokenizer: Tokenizer) -> Path:
    """A model folder with fresh weights, as pretraining would leave one."""
    MaskedLM(shape(architecture, tokenizer)).save_pretrained(folder)
    tokenizer.save(folder)
    return folder
