"""A random model for the live page, which is made in a moment."""

from pathlib import Path

import torch

from plainformer.encoder import EncoderConfig, MaskedLM
from plainformer.tokenizer import WordPiece

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789éßαω我中の.,;!?'-()[]$+<>«»。，"
WORDS = (
    "a large fish found in the rivers of south america man is playing guitar one who writes books "
    "what capital france to cut with sharp knife the old woman reads book it rains"
)
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *dict.fromkeys([*LETTERS, *WORDS.split()]),
    *(f"##{letter}" for letter in LETTERS),
    *("##ing", "##ings", "un", "##able"),
]


def save_model(folder: Path) -> Path:
    """Save the model with its tokenizer; return the folder."""
    torch.manual_seed(0)
    config = EncoderConfig.preset(
        "modern-tiny",
        num_hidden_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=48,
        vocab_size=len(VOCABULARY),
        pad_token_id=0,
        initializer_range=0.3,
    )
    MaskedLM(config).save_pretrained(folder)
    WordPiece(VOCABULARY).save(folder)
    return folder
