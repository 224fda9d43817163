"""Compute the divergence of a model's outputs from those of another pass or of a teacher.

    KL(p ‖ q) = Σ p log p / q,    p = softmax(others / T),  q = softmax(outputs / T)

R-Drop (Liang et al. 2021, arXiv:2106.14448) and SMART (Jiang et al. 2020, arXiv:1911.03437) sum
both directions; distillation (Hinton et al. 2015, arXiv:1503.02531) has the teacher's logits as
`others`, and multiplies by T².
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid


def kl_divergence(
    logits: Float[Tensor, "rows labels"],
    others: Float[Tensor, "rows labels"],
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Sum KL(softmax(others / T) ‖ softmax(logits / T)) over the rows."""
    log_q, log_p = ((x / temperature).log_softmax(-1) for x in (logits, others))
    return (log_p.exp() * (log_p - log_q)).sum()


def bernoulli_kl_divergence(
    logits: Float[Tensor, "rows labels"],
    others: Float[Tensor, "rows labels"],
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Sum over the rows the mean over the labels of KL(σ(others / T) ‖ σ(logits / T))."""
    q, p = logits / temperature, others / temperature
    true = p.sigmoid() * (logsigmoid(p) - logsigmoid(q))
    false = (-p).sigmoid() * (logsigmoid(-p) - logsigmoid(-q))
    return (true + false).mean(-1).sum()
