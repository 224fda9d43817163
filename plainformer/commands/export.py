"""`plainformer export FOLDER --out DIR`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import UserError, above, check_bounds
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class ExportOptions:
    """Export a model to ONNX, or as a program of torch.export, and check the result.

    ONNX is for ONNX Runtime, optimum and transformers.js; a program of torch.export needs torch
    alone.
    The exported model is run beside the model itself; where they differ, nothing is written.
    """

    model: Positional[Path]
    """Folder of the model: fine-tuned or pretrained, a sentence encoder, or an adapter."""

    out: Path
    """A new folder for onnx/model.onnx (torch/model.pt2), config.json and the tokenizer's files."""

    data: str | None = None
    """Labelled examples to compare and to score on: a file, or the name of a data set (its test
    split). By default a few built-in sentences are compared."""

    format: Literal["onnx", "torch"] = "onnx"
    """onnx: onnx/model.onnx. torch: torch/model.pt2, for torch.export.load."""

    int8: bool = False
    """Write onnx/model_quantized.onnx, too: matrices rounded to int8, a quarter of the bytes. With
    --data the table shows what that costs."""

    tolerance: float = 1e-5
    """Largest difference of an output from that of the model itself, as a share of its largest
    number, if that is above 1."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, tolerance=above(0))
        if self.int8 and self.format == "torch":
            raise UserError("int8 is for ONNX: leave it out, or export with --format onnx")


def run(arguments: Sequence[str]) -> None:
    """Export, and print what was measured."""
    options = parse(ExportOptions, "export", arguments)
    from plainformer.deploy.export import export_folder
    from plainformer.finetune.metrics import Table
    from plainformer.tables import print_table

    results = export_folder(
        options.model,
        options.out,
        options.data,
        options.int8,
        options.tolerance,
        options.format,
    )
    names = list(results[0].scores)[:3]
    rows = [
        (
            found.name,
            f"{found.megabytes:,.1f}",
            "" if found.difference is None else f"{found.difference:.2g}",
            *(f"{found.scores[name]:.4f}" for name in names),
        )
        for found in results
    ]
    columns = ("file", "MB", "largest difference", *names)
    print_table(Table("exported", columns, rows))
    print(f"the exported model, with config and tokenizer, is in {options.out}")
