"""Make the models that `serving.py` compares: one fine-tuned MiniLM, in the form of each server."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from plainformer.base import write_json
from plainformer.corpora import fetch


def prepare(material: Path) -> None:
    """Make what is missing: the run, its export, and the files of the others."""

    def call(*arguments: str) -> None:
        print("plainformer", *arguments, flush=True)
        command = [sys.executable, "-m", "plainformer", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    material.mkdir(parents=True, exist_ok=True)
    folders = ("trec", "exported", "static", "theirs")
    run, exported, static, theirs = (material / name for name in folders)
    if not run.exists():
        names = ("--model", "minilm", "--train", "trec", "--epochs", "1", "--seed", "0")
        call("finetune", "classification", *names, "--out", str(run))
    if not exported.exists():
        call("export", str(run), "--out", str(exported), "--int8", "--data", "trec")
    if not static.exists():
        call("shrink", str(run), "--out", str(static), "--int8", "static", "--data", "trec")
    if not (theirs / "int8.onnx").exists():
        export_theirs(exported, theirs)
    if not (theirs / "smooth.xml").exists():
        smooth(exported, theirs)
    if not (material / "texts.json").exists():
        lines = (fetch("trec") / "test.jsonl").read_text(encoding="utf-8").splitlines()
        write_json(material / "texts.json", [json.loads(line)["text"] for line in lines])


def export_theirs(folder: Path, theirs: Path) -> None:
    """Export by transformers: as it comes, with operators fused for BERT, and that in int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoModelForSequenceClassification

    print(f"exporting with transformers to {theirs}", flush=True)
    shutil.rmtree(theirs, ignore_errors=True)
    theirs.mkdir()
    # The fusion recognises only the pattern of the older exporter with eager attention.
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    ids = torch.ones(2, 8, dtype=torch.long)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    dynamic = {name: {0: "batch", 1: "seq"} for name in names} | {"logits": {0: "batch"}}
    torch.onnx.export(
        OnlyLogits(model).eval(),
        (ids, ids, ids),
        str(theirs / "plain.onnx"),
        input_names=names,
        output_names=["logits"],
        dynamic_axes=dynamic,
        opset_version=17,
        dynamo=False,
    )
    heads, hidden = model.config.num_attention_heads, model.config.hidden_size
    fused = optimize_model(str(theirs / "plain.onnx"), "bert", num_heads=heads, hidden_size=hidden)
    fused.save_model_to_file(str(theirs / "fused.onnx"))
    quantize_dynamic(
        theirs / "fused.onnx",
        theirs / "int8.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": 1},  # it does not know the fused operators
    )


def smooth(folder: Path, theirs: Path) -> None:
    """Quantise weights and inputs for OpenVINO: NNCF's SmoothQuant on 300 training questions."""
    import nncf
    import openvino
    from tokenizers import Tokenizer

    print("quantising with NNCF", flush=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = (fetch("trec") / "train.jsonl").read_text(encoding="utf-8").splitlines()[:300]

    def feed(line: str) -> dict[str, np.ndarray]:
        ids = np.array([tokenizer.encode(json.loads(line)["text"]).ids])
        mask, types = np.ones_like(ids), np.zeros_like(ids)
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}

    model = openvino.Core().read_model(theirs / "plain.onnx")
    kind = nncf.ModelType.TRANSFORMER
    quantised = nncf.quantize(model, nncf.Dataset(lines, feed), model_type=kind)
    openvino.save_model(quantised, theirs / "smooth.xml")


class OnlyLogits(torch.nn.Module):
    """A classifier of transformers that returns only its logits."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Return the logits of a padded batch."""
        logits: torch.Tensor = self.model(ids, attention_mask=mask, token_type_ids=types).logits
        return logits
