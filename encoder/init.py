"""How parameters begin: one rule for each architecture, in one table.

| parameter                                        | all others | modern                   |
|--------------------------------------------------|------------|--------------------------|
| embeddings, and matrices that read the stream    | σ          | σ                        |
| matrices that write to the stream, head matrices | σ          | σ / √(2 · layers)        |
| classifier                                       | σ          | 1 / √hidden              |
| distribution                                     | normal | normal, cut at ±2 deviations |

σ is `initializer_range`. Norm weights are 1; biases and the vector of the padding token are 0.
(Devlin et al. 2018; Warner et al. 2024, as `transformers` has them.)
"""

import math

from torch import nn

from encoder.config import EncoderConfig

WRITES_TO_STREAM = ("attention.output", "feed_forward.down", "head.dense")


def initialise(model: nn.Module, config: EncoderConfig) -> None:
    """Draw every parameter of `model` anew, from torch's global generator."""
    for name, parameter in model.named_parameters():
        module = name.rpartition(".")[0]
        if parameter.ndim == 1:
            nn.init.constant_(parameter, 1.0 if name.endswith("norm.weight") else 0.0)
        elif config.architecture != "modern":
            nn.init.normal_(parameter, std=config.initializer_range)
        else:
            std = config.initializer_range
            if module.endswith(WRITES_TO_STREAM):
                std /= math.sqrt(2 * config.num_hidden_layers)
            elif module.endswith("classifier"):
                std = config.hidden_size**-0.5
            nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std)
    for embedding in model.modules():
        if isinstance(embedding, nn.Embedding) and embedding.padding_idx is not None:
            nn.init.zeros_(embedding.weight[embedding.padding_idx])
