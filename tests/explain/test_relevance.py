"""Layer-wise relevance: against its rules applied by hand, and conserved where there is no bias."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder import EncoderConfig, SequenceClassifier
from plainformer.encoder.feedforward import GatedFeedForward
from plainformer.encoder.weights import FAMILIES
from plainformer.explain.attribution import Explainer
from plainformer.explain.attribution.relevance import conserving, relevance
from plainformer.explain.attribution.variants import Variants
from plainformer.finetune import Predictor
from plainformer.finetune.tasks.classification import Classification
from tests.encoder.families import CONFIGS
from tests.encoder.tools import randomise
from tests.explain.test_attribution import FIRST, SHAPE, TOKENIZER, rows, tasks, variants
from tests.pretrain import tiny

TWO = ("a", "b")


def without_biases(model: Any) -> Any:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return model.double().eval()


def classifier(config: EncoderConfig) -> Variants:
    """A model of two labels with random weights but no bias, on one text."""
    torch.manual_seed(0)
    model = without_biases(randomise(SequenceClassifier(config, TWO)))
    task = Classification(labels=TWO, max_length=30)
    explainer = Explainer(Predictor(task, model, TOKENIZER))
    found, _ = explainer.variants_of(task.read(next(iter(rows([FIRST]))), labelled=False))
    return found


def value(of: Variants) -> Float[np.ndarray, " decisions"]:
    return of.values(np.ones((1, len(of.words)), bool))[0]


VARIED = {
    "modern": {},
    "layer-norm": {"norm": "layer_norm"},
    "rms-norm": {"norm": "rms_norm"},
    "plain-feed-forward": {"gated": False},
    "relu": {"hidden_act": "relu"},
    "gelu-tanh": {"hidden_act": "gelu_tanh"},
    "post-norm": {"norm_order": "post"},
    "alibi": {"positions": "alibi"},
}


@pytest.mark.parametrize("name", [*CONFIGS, *VARIED])
def test_conserved_without_biases(name: str) -> None:
    """The relevances of all tokens add up to the log-odds: every family, and each part alone."""
    if name in CONFIGS:
        config = FAMILIES[name].read_config(CONFIGS[name])
    else:
        config = replace(tiny.SHAPE, **VARIED[name])
    of = classifier(replace(config, vocab_size=TOKENIZER.vocab_size, pad_token_id=0))
    found, sums = relevance(of)
    assert abs(value(of)).max() > 1e-2 and np.abs(found).max() > 1e-3
    np.testing.assert_allclose(sums, value(of), atol=1e-6)


@pytest.mark.parametrize("name", tasks())
def test_conserved_up_to_an_entropy(name: str) -> None:
    """Every task: what is missing in log-odds is the entropy of the other labels, at most log n."""
    of, _, _ = variants(name)
    without_biases(of.model)
    _, sums = relevance(of)
    missing = sums - value(of)
    if name in ("multi-label", "regression", "sentence-embedding"):  # linear: nothing is
        np.testing.assert_allclose(missing, 0, atol=1e-6)
    places = 2 * np.log(of.item.num_tokens)  # both ends of an answer are chosen among the tokens
    bound = places if name == "question-answering" else np.log(2)
    assert (missing > -1e-6).all() and (missing < bound + 1e-6).all()


def linear(x: Tensor, weight: Tensor, arrived: Tensor) -> Tensor:
    """The rule of a linear layer: Rᵢ = Σⱼ xᵢ wⱼᵢ / zⱼ · Rⱼ."""
    return x * ((arrived / (x @ weight.T)) @ weight)


def centring(x: Tensor, norm: Any) -> Tensor:
    """The matrix that a layer norm is, at each token."""
    size = x.shape[-1]
    scale = norm.weight / (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
    return scale[..., None] * (torch.eye(size) - 1 / size)


def through_norm(x: Tensor, norm: Any, arrived: Tensor) -> Tensor:
    parts = zip(x, centring(x, norm), arrived, strict=True)
    return torch.stack([linear(one[None], m, r[None])[0] for one, m, r in parts])


def by_hand(model: SequenceClassifier, h: Float[Tensor, "tokens hidden"], label: int) -> Tensor:
    """The rules of Bach et al. 2015 (doi:10.1371/journal.pone.0130140), layer by layer, for BERT
    with one block."""
    block, norms = (
        model.blocks[0],
        (model.blocks[0].attention_norm, model.blocks[0].feed_forward_norm),
    )
    heads, pooler = block.attention.num_heads, model.encoder.pooler.dense.weight
    q, k, v = (h @ w.T for w in block.attention.qkv.weight.chunk(3))
    split = [x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, v)]
    weights = (split[0] @ split[1].mT / split[0].shape[-1] ** 0.5).softmax(-1)
    mixed = weights @ split[2]  # (heads, tokens, head_size)
    flat = mixed.transpose(0, 1).flatten(1)
    added = flat @ block.attention.output.weight.T
    first = h + added
    one = (centring(first, norms[0]) @ first[..., None])[..., 0]
    active = torch.nn.functional.gelu(one @ block.feed_forward.up.weight.T)
    more = active @ block.feed_forward.down.weight.T
    second = one + more
    two = (centring(second, norms[1]) @ second[..., None])[..., 0]
    pooled = torch.tanh(two[:1] @ pooler.T)
    logits = pooled @ model.classifier.weight.T

    arrived = torch.where(torch.arange(2) == label, logits, -logits)
    arrived = linear(pooled, model.classifier.weight, arrived)  # tanh passes all of it on
    read = torch.zeros_like(two)
    read[:1] = linear(two[:1], pooler, arrived)
    sum_two = through_norm(second, norms[1], torch.where(two == 0, 0, read))
    down = linear(active, block.feed_forward.down.weight, sum_two * more / second)
    at_one = sum_two * one / second + linear(one, block.feed_forward.up.weight, down)
    sum_one = through_norm(first, norms[0], at_one)
    out = linear(flat, block.attention.output.weight, sum_one * added / first)
    share = out.unflatten(-1, (heads, -1)).transpose(0, 1) / mixed
    values = split[2] * (weights.mT @ share)  # Σ_q A_qk v_k / y_q · R_q
    value_weight = block.attention.qkv.weight.chunk(3)[2]
    at_values = linear(h, value_weight, values.transpose(0, 1).flatten(1))
    return (sum_one * h / first + at_values).sum(-1)


def test_equal_to_the_rules_by_hand() -> None:
    of = classifier(replace(SHAPE, hidden_size=8, intermediate_size=16))
    assert isinstance(of.model, SequenceClassifier)
    batch = of.batch(1)
    with torch.no_grad():
        h = of.model.base.embed(batch.input_ids, batch.token_type_ids, batch.sequences)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            hand = by_hand(of.model, h, TWO.index(of.decisions[0].name))
        finally:
            torch.set_default_dtype(default)
    found, sums = relevance(of)
    np.testing.assert_allclose(found[0], of.of_words(hand), rtol=1e-5, atol=1e-5)
    assert sums[0] == pytest.approx(float(hand.sum()), abs=1e-6)


def test_a_gated_unit_gives_half_to_each_factor() -> None:
    torch.manual_seed(0)
    layer = GatedFeedForward(8, 16, bias=False).double()
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

    with conserving(Model()):
        y = layer(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
    gate, up = layer.up.weight.chunk(2)
    product = torch.nn.functional.gelu(x @ gate.T) * (x @ up.T)
    arrived = linear(product, layer.down.weight, y)
    halves = (linear(x, weight, arrived) / 2 for weight in (gate, up))
    torch.testing.assert_close(x * gradient, sum(halves))


def test_values_stay_as_they_are() -> None:
    """The rules change gradients alone; and none is left behind."""
    of, _, _ = variants("sentence-embedding")
    batch = of.batch(1)
    plain = of.numbers(batch)
    with conserving(of.model):
        ruled = of.numbers(batch)
    torch.testing.assert_close(ruled, plain, atol=1e-5, rtol=0)
    assert not any(module._forward_hooks for module in of.model.modules())
