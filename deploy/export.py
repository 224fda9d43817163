"""Export a fine-tuned or pretrained folder, and compare the result before it is kept.

    OUT/onnx/model.onnx              as transformers.js and optimum read it
    OUT/onnx/model_quantized.onnx    with --int8
    OUT/torch/model.pt2              with --format torch, instead
    OUT/config.json, model.safetensors, tokenizer.json, task.json, README.md …

The exported model runs in ONNX Runtime, or in torch, on real text, in batches of many lengths,
beside the packed model. A difference above the tolerance is an error, and nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from plainformer.base import UserError, replaced_folder, write_json
from plainformer.base.extras import need
from plainformer.deploy.card import Data, Facts, Result, write_card
from plainformer.deploy.difference import SENTENCES, difference
from plainformer.deploy.onnx_export import QUANTISED, WHOLE, export_onnx, silence
from plainformer.deploy.onnx_model import OnnxModel
from plainformer.deploy.opened import Opened
from plainformer.deploy.torch_export import TorchModel, export_torch
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.added import split_state
from plainformer.encoder.weights.family import headed
from plainformer.encoder.weights.save import hf_config
from plainformer.finetune.data.batch import Batch, by_length
from plainformer.finetune.prediction.predictor import measure
from plainformer.finetune.task_file import save_task

Format = Literal["onnx", "torch"]
FILES: dict[Format, str] = {"onnx": WHOLE, "torch": "model.pt2"}
"""Format, which is the name of its folder, too -> its file."""
MADE: dict[Format, tuple[str, str]] = {
    "onnx": ("as ONNX", "ONNX Runtime"),
    "torch": ("as a program of torch.export", "torch"),
}
"""Format -> what a card says of it."""


@dataclass(frozen=True)
class Exported:
    """One exported file, as it was measured."""

    name: str
    megabytes: float
    difference: float | None
    """The largest difference of an output from that of the model itself, as a share of its largest
    number, if that is above 1."""
    scores: dict[str, float]
    """The scores on the data; empty without data."""


def export_folder(
    folder: str | Path,
    out: Path,
    data: str | None = None,
    int8: bool = False,
    tolerance: float = 1e-5,
    format: Format = "onnx",
) -> list[Exported]:
    """Write the model of `folder` to `out`, compared on `data` or on built-in sentences.

    Returns what was measured: of the model itself, then of each file. Raises `UserError` for a
    folder that cannot be exported, and where an output differs by more than `tolerance`.
    """
    if format == "onnx":
        need("onnx", "onnxscript", "onnxruntime", extra="export", purpose="exporting to ONNX")
    opened = Opened.of(folder)
    pairs = opened.items(data, SENTENCES)
    batches = [Batch.of([item for _, item in some]) for some in by_length([i for _, i in pairs])]

    def scores(model: PretrainedModel) -> dict[str, float]:
        if data is None or opened.task is None:
            return {}
        return measure(opened.task, model, pairs).scores()

    def measured(path: Path) -> Exported:
        kind = OnnxModel if format == "onnx" else TorchModel
        model = kind(path, opened.model.config)
        found = [difference(opened.model, model, batch) for batch in batches]
        largest = float(torch.tensor(found).max())
        return Exported(path.name, path.stat().st_size / 1e6, largest, scores(model))

    size = sum(p.numel() * p.element_size() for p in opened.model.parameters())
    results = [Exported("the model", size / 1e6, None, scores(opened.model))]
    with replaced_folder(out, "export") as unfinished:
        (unfinished / format).mkdir()
        write_beside(opened, unfinished)
        whole = unfinished / format / FILES[format]
        export = export_onnx if format == "onnx" else export_torch
        export(opened.model, whole)
        results.append(measured(whole))
        largest = results[-1].difference
        if largest is None or not largest <= tolerance:
            raise UserError(
                f"the exported model differs by {largest:.2g} from the model itself, more than the "
                f"tolerance of {tolerance:g}: nothing is written"
            )
        if int8:
            quantise(whole, unfinished / "onnx" / QUANTISED)
            results.append(measured(unfinished / "onnx" / QUANTISED))
        found = facts_of(unfinished, folder, data, format, int8, len(pairs), results)
        write_card(unfinished, found, before=out)
    return results


def facts_of(
    unfinished: Path,
    folder: str | Path,
    data: str | None,
    format: Format,
    int8: bool,
    count: int,
    results: Sequence[Exported],
) -> Facts:
    """Collect what the card of the exported model says."""
    whole, words, measured = results[1], ["export", "RUN"], list[Result]()
    if data is not None:
        source = Data.of(data)
        part = "test part" if source.known else ""
        words += ["--data", source.name]
        measured = [Result(source, part, count, one.scores, model=one.name) for one in results[1:]]
    words += [*["--format", "torch"] * (format == "torch"), *["--int8"] * int8, "--out", "DIR"]
    on = "on a few built-in sentences" if data is None else f"on {count:,} examples"
    made, runtime = MADE[format]
    note = (
        f"`plainformer export` wrote it {made}. In {runtime} its outputs differ from the "
        f"model's by at most {whole.difference:.2g} {on}, as a share of the largest."
    )
    return Facts.of_made(unfinished, folder, made, words, measured, note)


def quantise(whole: Path, path: Path) -> None:
    """Round the matrices of an ONNX file to int8, each row with its scale; inputs as they come.

    The range is reduced to seven bits, so that no CPU's sums overflow.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(whole)
    del model.graph.value_info[:]  # the quantiser infers the shapes between the layers anew
    with silence():
        quantize_dynamic(
            model, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        )


def write_beside(opened: Opened, folder: Path) -> None:
    """Write the model itself, the tokenizer and the task, which readers expect beside the graph.

    Of a model with parameters that cannot be merged, the graph alone has all weights.
    """
    _, added = split_state(headed(opened.model.saved))
    if added:
        write_json(folder / "config.json", hf_config(opened.model.saved))
        opened.model.save_files(folder)
    else:
        opened.model.save_pretrained(folder)
    tokenizer = opened.tokenizer
    if opened.task is not None:
        tokenizer = tokenizer.with_max_length(opened.task.max_length)
        save_task(opened.task, folder)
    tokenizer.save(folder)
