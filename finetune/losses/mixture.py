"""Mix the predictions of several models: the logits of their mean probabilities.

    softmax(z / T) = 1/n Σ softmax(zᵢ / T)        z = T log 1/n Σ softmax(zᵢ / T)

At T = 1 it is what an ensemble predicts; at the temperature of a distillation it is the soft target
that several teachers give together (Hinton et al. 2015, arXiv:1503.02531, §2).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid


def mixture(
    logits: Sequence[Float[Tensor, "rows labels"]], temperature: float = 1.0
) -> Float[Tensor, "rows labels"]:
    """Compute the logits of the mean of the distributions over the labels."""
    logs = torch.stack([(x / temperature).log_softmax(-1) for x in logits])
    return temperature * (logs.logsumexp(0) - math.log(len(logits)))


def bernoulli_mixture(
    logits: Sequence[Float[Tensor, "rows labels"]], temperature: float = 1.0
) -> Float[Tensor, "rows labels"]:
    """Compute the logits of the mean probability of each label."""
    scaled = torch.stack(tuple(logits)) / temperature
    return temperature * (logsigmoid(scaled).logsumexp(0) - logsigmoid(-scaled).logsumexp(0))
