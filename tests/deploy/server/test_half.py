"""A model in half precision answers nearly as in fp32, for every task; its scores are in fp32."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plainformer.base import Inference, UserError
from plainformer.deploy.server import load_models
from plainformer.deploy.server.routes.about import about
from plainformer.deploy.server.served import Served
from plainformer.finetune import Embedder, Predictor
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.ensemble import outputs_of
from plainformer.finetune.placement import Placement, placement_of, precision_of
from tests.deploy.server.test_runtimes import ASKED, answers

BOUNDS = {"bf16": 0.06, "fp16": 0.01}
"""The largest difference, as a share of the largest number."""


def outputs(served: Served, inputs: Any) -> Tensor:
    """The numbers that the predictions are made of."""
    _, items = served.read(inputs)
    found = outputs_of(served.predictor.task, served.model, Batch.of(items))
    found = getattr(found, "logits", found)
    return torch.cat(found) if isinstance(found, tuple) else found


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("name", ASKED)
@torch.no_grad()
def test_every_task(name, precision, runs):
    whole = Served.load(runs[name], Inference(precision="fp32"))
    half = Served.load(runs[name], Inference(precision=precision))
    assert half.model.base.embeddings.tokens.weight.dtype.itemsize == 2
    wanted, found = outputs(whole, ASKED[name]), outputs(half, ASKED[name])
    assert found.dtype == torch.float32
    finite = wanted.isfinite() & (wanted > torch.finfo(wanted.dtype).min)
    wanted, found = wanted[finite], found[finite]
    error = float((found - wanted).abs().max() / wanted.abs().max())
    assert 0 < error < BOUNDS[precision]
    for answer in answers(half, ASKED[name]):
        if isinstance(answer.get("probabilities"), dict) and name != "topics":
            assert math.isclose(sum(answer["probabilities"].values()), 1, abs_tol=1e-5)


def test_auto_is_fp32_on_a_cpu_and_info_names_it(runs):
    for precision, named in (("auto", "fp32"), ("bf16", "bf16")):
        models = load_models([runs["labels"]], inference=Inference("cpu", precision))
        assert about(models.running["labels"])["precision"] == named
        models.close()
    assert placement_of(Predictor.load(runs["labels"], precision="fp16").model) == "on cpu in fp16"


def test_vectors_are_written_in_fp32(runs):
    texts = ["the hen pecks", "the cat sleeps on the mat"]
    whole = Embedder.load(runs["vectors"])(texts)
    half = Embedder.load(runs["vectors"], precision="bf16")(texts)
    assert half.dtype == whole.dtype
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, rtol=1e-6)
    assert (half * whole).sum(1).min() > 0.999


def test_what_contradicts_itself_is_refused():
    with pytest.raises(UserError, match="--int8 and --precision fp16: choose one"):
        Inference(precision="fp16", int8=True)
    with pytest.raises(UserError, match="int8 is for CPUs: leave out --int8, or --device mps"):
        Inference(device="mps", int8=True)
    with pytest.raises(UserError, match="device must be auto, cpu"):
        Inference(device="tpu")
    with pytest.raises(UserError, match="there is no device 'xpu' here"):
        Placement.of(Inference(device="xpu"))


def test_a_model_in_int8_stays_on_the_cpu(runs):
    rounded = Predictor.load(runs["labels"], int8=True).model
    on_a_gpu = replace(Placement.of(), device=torch.device("meta"))
    assert on_a_gpu.move(rounded).device.type == "cpu" and precision_of(rounded) == "int8"
    for options, message in (
        (Inference(device="cuda"), "in int8 is for CPUs: leave out --device"),
        (Inference(precision="bf16"), "the model is in int8: leave out --precision"),
    ):
        with pytest.raises(UserError, match=message):
            replace(Placement.of(), options=options).move(rounded)
