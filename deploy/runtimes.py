"""Choose what computes the batches of a served model: torch, or a runtime on the exported graph.

    plainformer export runs/labels --out exported --int8
    plainformer serve exported --runtime auto

`auto` measures torch, ONNX Runtime and OpenVINO, as far as they are installed and the folder holds
`onnx/model.onnx` (with int8 `onnx/model_quantized.onnx`), and takes the fastest. A graph in fp32
must give the numbers of the weights beside it; else `auto` takes torch, and says why.
"""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, cast

import torch

from plainformer.base import UserError
from plainformer.base.extras import need
from plainformer.deploy.difference import SENTENCES, difference
from plainformer.deploy.onnx_export import INPUTS, QUANTISED, WHOLE, output_names
from plainformer.deploy.onnx_model import OnnxModel
from plainformer.deploy.openvino_model import OpenVinoModel
from plainformer.encoder import TokenClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.placement import precision_of
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from plainformer.tokenizer import Tokenizer

Runtime = Literal["auto", "torch", "onnxruntime", "openvino"]
MODELS: dict[Runtime, type[OnnxModel] | type[OpenVinoModel]] = {
    "onnxruntime": OnnxModel,
    "openvino": OpenVinoModel,
}
EXTRAS: dict[Runtime, str] = {"onnxruntime": "export", "openvino": "openvino"}
LENGTHS = (6, 8, 8, 10, 12, 12, 14, 16, 20, 20, 24, 28, 32, 40, 48, 64)
"""Tokens of the texts that are measured."""
SECONDS = 1.0
TOLERANCE, INT8_TOLERANCE = 1e-4, 0.5
"""The largest difference from the weights beside a graph: rounding, or other weights."""


def choose_runtime(
    runtime: Runtime,
    folder: Path,
    model: PretrainedModel,
    tokenizer: Tokenizer,
    max_length: int,
    int8: bool = False,
) -> tuple[Runtime, PretrainedModel]:
    """Return the name of the runtime, and the model in it: the given one, or its export.

    `auto` says on stderr which one is taken, and the milliseconds of each. Raises `UserError` for a
    runtime that is not installed, a folder without its file, and a graph of other weights.
    """
    if runtime == "torch":
        return "torch", model
    path = folder / "onnx" / (QUANTISED if int8 else WHOLE)
    batch = mixed_lengths(tokenizer, max_length)
    if runtime != "auto":
        need(runtime, extra=EXTRAS[runtime], purpose=f"--runtime {runtime}")
        return runtime, load(runtime, path, model, batch, int8)
    if not path.is_file() or model.device.type != "cpu" or is_half(model):
        return "torch", model
    there: dict[Runtime, PretrainedModel] = {"torch": model}
    for name in MODELS:
        if find_spec(name) is not None:
            try:
                there[name] = load(name, path, model, batch, int8)
            except UserError as error:
                print(f"{folder.name} runs in torch: {error}", file=sys.stderr, flush=True)
                return "torch", model
    if len(there) == 1:
        return "torch", model
    times = measured(there, batch)
    fastest, *others = sorted(times, key=lambda name: times[name])
    slower = ", ".join(f"{name} {1e3 * times[name]:.1f} ms" for name in others)
    print(
        f"{folder.name} runs in {fastest}: {len(LENGTHS)} texts take "
        f"{1e3 * times[fastest]:.1f} ms ({slower})",
        file=sys.stderr,
        flush=True,
    )
    return fastest, there[fastest]


def load(
    name: Runtime, path: Path, model: PretrainedModel, batch: Batch[Item], int8: bool
) -> PretrainedModel:
    """Load an exported model, and compare it with the model of the folder.

    The transitions of a CRF, which the graph has not, are those of the model. Raises `UserError`
    where the file is missing, or is that of other weights.
    """
    if not path.is_file():
        folder, option = path.parent.parent, " --int8" if int8 else ""
        raise UserError(
            f"{folder} has no onnx/{path.name}: run `plainformer export {folder} --out "
            f"exported{option}`, and serve exported"
        )
    if model.device.type != "cpu":
        raise UserError(f"{name} runs on the CPU, and the model is on a GPU: take --runtime torch")
    if is_half(model):
        raise UserError(f"{name} computes in fp32: leave out --precision, or take --runtime torch")
    try:
        # On one thread, since the server computes several batches at once.
        exported = MODELS[name](path, model.config, threads=1)
    except Exception as error:  # each runtime has classes of its own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{name} cannot open {path}: {reason[0][:200]}") from None
    if unknown := set(exported.input_names).difference(INPUTS):
        raise UserError(f"{path} reads {', '.join(sorted(unknown))}, which no tokenizer gives")
    wanted = output_names(model)
    if exported.output_names != list(wanted):
        given = ", ".join(exported.output_names)
        raise UserError(f"{path} gives {given}, and what is served needs {wanted[-1]}")
    with torch.no_grad():
        found = difference(model, exported, batch)
    if not found <= (INT8_TOLERANCE if int8 else TOLERANCE):
        raise UserError(
            f"{path} differs from the weights beside it by {found:.2g} in {name}: export them again"
        )
    if isinstance(model, ChainTagger):
        whole = ChainTagger(cast(TokenClassifier, exported), model.labels)
        whole.crf = model.crf
        return whole.eval()
    return exported


def is_half(model: PretrainedModel) -> bool:
    """Return whether the weights of a model are in half precision."""
    return precision_of(model) in ("bf16", "fp16")


def mixed_lengths(tokenizer: Tokenizer, max_length: int) -> Batch[Item]:
    """Encode real words as texts of mixed lengths, as one batch."""
    words = " ".join(SENTENCES)
    sizes = [min(size, max_length) for size in LENGTHS]
    return Batch.of([Item((tokenizer.encode(words, max_length=size),)) for size in sizes])


@torch.no_grad()
def measured(models: Mapping[Runtime, PretrainedModel], batch: Batch[Any]) -> dict[Runtime, float]:
    """Time a batch of each model, in turns, for about a second in all; return the shortest times.

    Each computes on one thread, as it does for many clients. A first turn warms them up.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[Runtime, list[float]] = {name: [] for name in models}
    end = perf_counter() + SECONDS
    while len(next(iter(times.values()))) < 2 or perf_counter() < end:
        for name, model in models.items():
            begin = perf_counter()
            model(batch.input_ids, None, batch.token_type_ids, batch.sequences)
            times[name].append(perf_counter() - begin)
    torch.set_num_threads(threads)
    return {name: min(found[1:]) for name, found in times.items()}
