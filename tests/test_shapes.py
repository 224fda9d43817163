"""The shapes in signatures are checked in the tests."""

import pytest
import torch

from plainformer.encoder import EncoderOutput, LayerNorm
from plainformer.encoder.ops import plain


def test_an_argument_of_another_shape_is_refused() -> None:
    with pytest.raises(TypeError, match="Type-check error"):
        plain.linear(torch.ones(3, 4), torch.ones(2, 5), None)


def test_a_method_checks_its_arguments() -> None:
    with pytest.raises(TypeError, match="Type-check error"):
        LayerNorm(4)(torch.ones(3, 4, dtype=torch.long))


def test_a_dataclass_checks_its_fields() -> None:
    with pytest.raises(TypeError, match="Type-check error"):
        EncoderOutput("no tensor")
