"""Initialise the parameters of a model, by the rules of its architecture.

| parameter                                        | all others | modern                   |
|--------------------------------------------------|------------|--------------------------|
| embeddings, input matrices of a block            | σ          | σ                        |
| output matrices of a block, matrices of heads    | σ          | σ / √(2 · layers)        |
| classifier                                       | σ          | 1 / √hidden              |
| distribution                                     | normal | normal, cut at ±2 deviations |

σ is `initializer_range`. Norm weights are 1; biases and the vector of the padding token are 0.
(Devlin et al. 2018; Warner et al. 2024, as `transformers` has them.)
"""

import math
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.positions import LearnedPositions

DRAWS = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)  # of torch's own layers
is_init_enabled: ContextVar[bool] = ContextVar("is_init_enabled", default=True)
OUTPUT_MATRICES = ("attention.output", "feed_forward.down", "head.dense", "decoder")


class SkipDraws(TorchFunctionMode):
    """A mode in which the layers of torch are built with uninitialised parameters."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, unless it draws random numbers."""
        return None if func in DRAWS else func(*args, **(kwargs or {}))


@contextmanager
def skip_init() -> Iterator[None]:
    """Build models without initialising them: drawing takes several times as long as loading."""
    before = is_init_enabled.set(False)
    try:
        with SkipDraws():
            yield
    finally:
        is_init_enabled.reset(before)


def initialise(model: nn.Module, config: EncoderConfig, only: Container[str] | None = None) -> None:
    """Draw the parameters of `model`, or `only` these, from torch's global generator.

    Within `skip_init` this does nothing.
    """
    if not is_init_enabled.get():
        return
    for name, parameter in model.named_parameters():
        if only is not None and name not in only:
            continue
        module = name.rpartition(".")[0]
        if parameter.ndim == 1:
            nn.init.constant_(parameter, 1.0 if name.endswith("norm.weight") else 0.0)
        elif config.architecture != "modern":
            nn.init.normal_(parameter, std=config.initializer_range)
        else:
            std = config.initializer_range
            if module.endswith(OUTPUT_MATRICES):
                std /= math.sqrt(2 * config.num_hidden_layers)
            elif module.endswith("classifier"):
                std = config.hidden_size**-0.5
            nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std)
    for table in model.modules() if only is None else ():
        if isinstance(table, nn.Embedding | LearnedPositions) and table.padding_idx is not None:
            nn.init.zeros_(table.weight[table.padding_idx])
