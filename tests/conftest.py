"""Shapes are checked at run time in every test: the hook comes before the first import."""

import os

from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401 (the hook finds it by name)

# The test processes share the cores: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test asks the hub for a folder that is not here.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

install_import_hook(
    ["encoder", "tokenizer", "corpora", "training", "logbook", "pretrain", "finetune", "explain"],
    "tests.typechecker.check",
)
