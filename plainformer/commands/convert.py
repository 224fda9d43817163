"""`plainformer convert FOLDER --out DIR`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class ConvertOptions:
    """Convert an old pytorch_model.bin to safetensors, or merge an adapter into its base model.

    The .bin is a pickle; it is read with weights_only, which refuses anything that runs code.
    """

    model: Positional[Path]
    """Folder with config.json and pytorch_model.bin, or its shards and their index; or that of an
    adapter, such as a run with --lora."""

    out: Path
    """A new folder for model.safetensors, config.json and the tokenizer's files."""


def run(arguments: Sequence[str]) -> None:
    """Convert, and print the number of tensors."""
    options = parse(ConvertOptions, "convert", arguments)
    from plainformer.deploy.card import converted_card
    from plainformer.encoder.weights import is_adapter

    is_merged = is_adapter(options.model)
    if is_merged:
        from plainformer.finetune.merged_folder import merge_folder

        count = merge_folder(options.model, options.out)
    else:
        from plainformer.encoder.weights.convert import convert

        count = convert(options.model, options.out)
    converted_card(options.out, options.model, is_merged)
    print(f"{count:,} tensors, and the files beside them, are in {options.out}")
