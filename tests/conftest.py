"""Shapes are checked at run time in every test: the hook comes before the first import."""

import os

from jaxtyping import install_import_hook

# The test processes share the cores: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

install_import_hook(
    ["encoder", "tokenizer", "corpora", "training", "pretrain", "finetune", "explain"],
    "beartype.beartype",
)
