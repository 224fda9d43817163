"""Shapes are checked at run time in every test: the hook comes before the first import."""

from jaxtyping import install_import_hook

install_import_hook(
    ["encoder", "tokenizer", "corpora", "training", "pretrain", "finetune"], "beartype.beartype"
)
