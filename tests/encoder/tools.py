"""Small random models, batches of unequal lengths, closeness, refusals, a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import Encoder, EncoderConfig

VOCAB = 61
# bf16 keeps 8 bits: an error of 2⁻⁸ in each of a few roundings.
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)]
)


def bert(**changes: Any) -> EncoderConfig:
    """A BERT of two layers, without dropout."""
    return EncoderConfig(
        **{
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 40,
            "embedding_dropout": 0.0,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            "classifier_dropout": 0.0,
            **changes,
        }
    )


def modern(**changes: Any) -> EncoderConfig:
    """A ModernBERT of four layers whose local ones see two tokens on each side."""
    return EncoderConfig.preset(
        "modern-tiny",
        **{
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
            "pad_token_id": 3,
            "local_attention": 4,
            **changes,
        },
    )


def randomise(model: nn.Module, seed: int = 0) -> Any:
    """Every parameter drawn anew, norms and biases too, so that no swapped pair goes unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            one = name.lower().endswith("norm.weight")
            parameter.copy_(1 + 0.3 * noise if one else 0.2 * noise)
    return model.eval()


def padded(lengths: list[int], seed: int = 0, left: bool = False) -> dict[str, Tensor]:
    """A padded batch of random ids and token types."""
    generator = torch.Generator().manual_seed(seed)
    seq = max(lengths)
    ids = torch.randint(4, VOCAB, (len(lengths), seq), generator=generator)
    types = torch.randint(0, 2, (len(lengths), seq), generator=generator)
    place = torch.arange(seq)
    size = torch.tensor(lengths)[:, None]
    mask = (place >= seq - size if left else place < size).long()
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Equal in shape, and in every number to `tolerance` of the largest (at least of 1)."""
    assert ours.shape == theirs.shape
    if not ours.numel():
        return
    assert ours.isfinite().all()
    scale = max(1.0, theirs.abs().max().item())
    error = (ours.double() - theirs.double()).abs().max().item()
    assert error <= tolerance * scale, f"off by {error:.1e} of {scale:.1e}"


def assert_relative(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Equal to `tolerance` of the largest number; where all are zero, exactly."""
    assert ours.shape == theirs.shape
    assert ours.isfinite().all()
    if ours.numel():
        error = (ours.double() - theirs.double()).abs().max().item()
        scale = theirs.double().abs().max().item()
        assert error <= tolerance * scale, f"off by {error:.1e} of {scale:.1e}"


def edit_config(folder: Path, **changes: Any) -> None:
    """Change these fields of a folder's `config.json`."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path, pattern: str, cls: Any = Encoder) -> None:
    """One short message that names the folder; no chain of others behind it."""
    with pytest.raises(UserError, match=pattern) as caught:
        cls.from_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def python(program: str, **environment: str) -> str:
    """What `program` prints, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def both(function: Callable[..., Tensor], other: Callable[..., Tensor], *inputs: Any) -> Any:
    """Value and gradients of both functions: tensors among the inputs are differentiated."""
    answers = []
    for f in (function, other):
        leaves = [
            x.detach().clone().requires_grad_()
            if isinstance(x, Tensor) and x.is_floating_point()
            else x
            for x in inputs
        ]
        y = f(*leaves)
        (y * draw(*y.shape, seed=9).to(y.dtype)).sum().backward()
        gradients = [x.grad for x in leaves if isinstance(x, Tensor) and x.is_floating_point()]
        answers.append([y.detach(), *gradients])
    return zip(*answers, strict=True)
