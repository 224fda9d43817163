"""Check the numbers of models on a GPU: outputs and gradients of every family and head.

The reference is the plain form in float64 on the CPU, with equal weights. Errors are relative,
‖x − reference‖ / ‖reference‖; a check is right when each is within its bound.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plainformer.encoder import (
    ChoiceScorer,
    Discriminator,
    Encoder,
    EncoderConfig,
    MaskedLM,
    PairedMaskedLM,
    QuestionAnswerer,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
    use_backend,
)
from plainformer.encoder.weights import FAMILIES
from plainformer.finetune.tuning import add_lora, add_prefix
from plainformer.finetune.tuning.several import mixed, share_base

FORMATS = (torch.float32, torch.bfloat16, torch.float16)
BOUNDS = {torch.float32: 2e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}
GRADIENT = 10
"""The bound of a gradient through a whole model, as a multiple of that of its output."""
LENGTHS = (1, 9, 9, 17, 30)
VOCAB = 64
BACKENDS: tuple[Literal["plain", "fused"], ...] = ("plain", "fused")
HEADS = (
    *(Encoder, MaskedLM, PairedMaskedLM, Discriminator),
    *(SequenceClassifier, TokenClassifier, QuestionAnswerer, ChoiceScorer),
)
POSITIONS = ("sinusoidal", "rotary", "alibi")
Check = Callable[[], dict[str, Any]]


def name_of(number_format: torch.dtype) -> str:
    """Return the short name of a number format: fp32, bf16, fp16."""
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    return names[number_format]


def model_checks(device: torch.device) -> Iterator[tuple[str, Check]]:
    """List the checks of whole models, each with a name."""
    for family in FAMILIES:
        if family != "plainformer":  # a mixture of the others
            yield f"{family}: all heads", lambda family=family: every_head(family, device)
    for positions in POSITIONS:
        config = replace(small_config("bert"), positions=positions)
        yield f"positions {positions}", lambda c=config: every_format([MaskedLM(c)], device)
    yield "prefix keys", lambda: prefix_keys(device)
    yield "adapters mixed in one batch", lambda: mixed_adapters(device)


def relative(x: Tensor, reference: Tensor) -> float:
    """Compute ‖x − reference‖ / ‖reference‖, NaN included."""
    difference = x.detach().cpu().double() - reference.detach().cpu().double()
    return float(difference.norm() / reference.detach().double().norm().clamp_min(1e-30))


Errors = dict[str, tuple[float, float]]
"""The name of a number → its error, and the bound of the error."""


def verdict(errors: Errors) -> dict[str, Any]:
    """Tell whether all errors are within bounds; say the worst of them in one line."""
    name, (error, bound) = max(errors.items(), key=lambda one: _excess(*one[1]))
    is_right = _excess(error, bound) <= 1
    line = f"{error:.1e} in {name} (allowed: {bound:.0e})"
    return {
        "right": is_right,
        "line": f"ok, at most {line}" if is_right else f"differs by {line}",
        "errors": {name: f"{e:.1e} of {b:.0e}" for name, (e, b) in errors.items()},
    }


def _excess(error: float, bound: float) -> float:
    return error / bound if error == error else float("inf")  # NaN is the worst


def small_config(family: str, **changes: Any) -> EncoderConfig:
    """Return the config of a small model of a family."""
    shape = FAMILIES[family].defaults
    return replace(
        shape,
        vocab_size=VOCAB,
        hidden_size=64,
        embedding_size=32 if shape.embedding_size else 0,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        pad_token_id=3,
        local_attention=8 if shape.local_attention else 0,
        **changes,
    )


def every_head(family: str, device: torch.device) -> dict[str, Any]:
    """Compare outputs and gradients of all heads, fused and plain, in every number format."""
    known = [head for head in HEADS if head is Encoder or head.__name__ in FAMILIES[family].heads]
    return every_format([head(small_config(family)) for head in known], device)


def every_format(models: list[Any], device: torch.device) -> dict[str, Any]:
    """Compare models with their plain form in float64, fused and plain, in every format."""
    errors: Errors = {}
    for model in models:
        randomise(model).eval()
        with use_backend("plain"):
            expected = outputs_and_gradient(copy.deepcopy(model).double())
        for number_format in FORMATS:
            for backend in BACKENDS:
                there = copy.deepcopy(model).to(device, number_format)
                with use_backend(backend):
                    found = outputs_and_gradient(there)
                name = f"{name_of(number_format)} {backend}"
                compare(errors, name, found, expected, BOUNDS[number_format], GRADIENT)
    return verdict(errors)


def compare(
    errors: Errors,
    name: str,
    found: tuple[Tensor, Tensor],
    expected: tuple[Tensor, Tensor],
    bound: float,
    factor: float = 1,
) -> None:
    """Add the errors of an output and of its gradient, where they are larger than those before."""
    for part, x, y, own in zip(
        ("output", "gradient"), found, expected, (bound, factor * bound), strict=True
    ):
        error = relative(x, y) if x.numel() else float(y.numel())
        worst = errors.get(f"{name} {part}", (0.0, own))
        errors[f"{name} {part}"] = max(worst, (error, own), key=lambda one: _excess(*one))


def randomise(model: Any) -> Any:
    """Draw every parameter again from a seed, norms and biases included."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + noise if name.endswith("norm.weight") else noise)
    return model


def outputs_and_gradient(model: Any) -> tuple[Tensor, Tensor]:
    """Run a packed batch forward and backward; return all outputs and gradients in one row.

    A model of the vocabulary runs twice: on all tokens, and on targets alone.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(1)
    sequences = Sequences.of(LENGTHS).to(device)
    ids = torch.randint(4, VOCAB, (sum(LENGTHS),), generator=generator).to(device)
    found = [model(ids, sequences=sequences)]
    if isinstance(model, MaskedLM):
        at = torch.tensor([0, 5, 11, sum(LENGTHS) - 1], device=device)
        found.append(model(ids, sequences=sequences, target_positions=at))
    return flat_and_gradient(found, model)


def flat_and_gradient(found: list[Any], model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return all outputs in one row, and the gradients of a random weighted mean of them."""
    generator = torch.Generator().manual_seed(2)
    parts: list[Tensor] = []
    for output in found:
        output = getattr(output, "last_hidden_state", output)
        parts += output if isinstance(output, tuple) else (output,)
    flat = torch.cat([part.double().flatten() for part in parts])
    weights = torch.randn(flat.shape, generator=generator, dtype=torch.float64)
    trained = [p for p in model.parameters() if p.requires_grad]
    mean = (flat * weights.to(flat.device)).mean()
    gradients = torch.autograd.grad(mean, trained, allow_unused=True)
    given = [
        torch.zeros_like(p) if g is None else g for p, g in zip(trained, gradients, strict=True)
    ]
    return flat, torch.cat([g.double().flatten().cpu() for g in given])


# What fine-tuning adds.


def prefix_keys(device: torch.device) -> dict[str, Any]:
    """Compare models whose layers have a learned prefix of keys and values."""
    models: list[Any] = []
    for family in ("bert", "modernbert", "mpnet"):
        model = TokenClassifier(small_config(family))
        add_prefix(model, length=5)
        models.append(model)
    return every_format(models, device)


def mixed_adapters(device: torch.device) -> dict[str, Any]:
    """Compare a batch of the texts of two adapters with the same batch in float64."""
    names = ["one", "two", "two", "one", "two"]
    models = nn.ModuleDict()
    for number, name in enumerate(("one", "two")):
        torch.manual_seed(0)
        model = randomise(SequenceClassifier(small_config("bert")))
        torch.manual_seed(number)
        add_lora(model, rank=2 + number)
        for parameter in model.parameters():
            if parameter.requires_grad:  # B starts at zero
                nn.init.normal_(parameter, std=0.1)
        models[name] = model.eval()
    share_base(models["two"], models["one"], "two models from one seed")

    def run(model: Any) -> tuple[Tensor, Tensor]:
        at = next(model.parameters()).device
        ids = torch.randint(4, VOCAB, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))
        found = mixed(dict(model), names, ids.to(at), sequences=Sequences.of(LENGTHS, at))
        return flat_and_gradient([found["one"], found["two"]], model)

    errors: Errors = {}
    with use_backend("plain"):
        expected = run(copy.deepcopy(models).double())
    for number_format in FORMATS:
        found = run(copy.deepcopy(models).to(device, number_format))
        compare(errors, name_of(number_format), found, expected, BOUNDS[number_format], GRADIENT)
    return verdict(errors)
