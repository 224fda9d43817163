"""Pretrain the model of the live page on texts that the chapters fetch, and keep it.

An encoder of four layers and four heads, 128 wide, learns to fill masks: in definitions of a
dictionary, and in captions, headlines, questions and film reviews. About eight minutes on one core.
"""

import hashlib
from pathlib import Path

from plainformer.base import write_text
from plainformer.corpora import fetch
from plainformer.encoder import PRESETS, EncoderConfig
from plainformer.pretrain import PretrainConfig, pretrain
from plainformer.tokenizer import train_tokenizer
from plainformer.training import TrainingConfig

TEXTS = {"gcide": 3, "stsb": 1, "trec": 1, "movie-sentiment": 1}
"""Of each set one line of so many: the dictionary is by far the largest."""
VOCABULARY, WIDTH, LAYERS, HEADS = 6144, 128, 4, 4
LONGEST = 64
"""Tokens of the longest sequence."""
SETTINGS = TrainingConfig(
    steps=2000,
    optimizer="muon",
    learning_rate=4e-3,
    matrix_learning_rate=0.02,
    weight_decay=0.1,
    schedule="wsd",
    warmup=0.02,
    decay=0.4,
)


def trained(cache: Path) -> Path:
    """Return the folder of the model, pretrained unless `cache` has it for this recipe.

    A run that was interrupted goes on.
    """
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    folder = cache / f"model-{recipe}"
    if (folder / "metrics.json").is_file():
        return folder
    print("pretraining, some minutes … ", end="", flush=True)
    lines = texts()
    write_text(cache / "texts.txt", "\n".join(lines) + "\n")
    tokenizer = train_tokenizer(lines, kind="wordpiece", vocab_size=VOCABULARY)
    tokenizer.save(cache / "tokenizer")
    PRESETS["modern-live"] = EncoderConfig.preset(
        "modern-tiny", num_hidden_layers=LAYERS, hidden_size=WIDTH, num_attention_heads=HEADS
    )
    config = PretrainConfig(
        corpus=(str(cache / "texts.txt"),),
        tokenizer=cache / "tokenizer",
        out=folder,
        preset="modern-live",
        max_length=LONGEST,
        batch_tokens=1536,
        mask_ratio=0.4,
        mask_ratio_end=0.15,  # in use one word is hidden: the sentences become more whole
        resume=True,
        training=SETTINGS,
    )
    pretrain(config, quiet=True)
    return folder


def texts() -> list[str]:
    """Return the texts, a line each."""
    lines: list[str] = []
    for name, every in TEXTS.items():
        text = (fetch(name) / "train.txt").read_text(encoding="utf-8")
        lines += text.split("\n")[::every]
    return lines
