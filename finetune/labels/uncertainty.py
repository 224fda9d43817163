"""Score how uncertain a model is of an example (Settles 2009, "Active learning literature survey").

    entropy(p) = −Σ p log p                 in nats; large where the answers are equally probable
    margin(p)  = p₁ − p₂                    of the two most probable answers; small where they tie

Of an example with several questions (a tag for each word, yes or no for each label) the entropy is
the mean over its questions, so that long sentences are not preferred, and the margin the least.
"""

import numpy as np
from jaxtyping import Float


def entropy(answers: Float[np.ndarray, "questions answers"]) -> float:
    """Compute the mean entropy of the questions; 0 where there are none."""
    if not answers.size:
        return 0.0
    logs = np.log(answers, where=answers > 0, out=np.zeros_like(answers))
    return float(-(answers * logs).sum(-1).mean())


def margin(answers: Float[np.ndarray, "questions answers"]) -> float:
    """Compute the least difference between the two most probable answers; 1 where there are none.

    A question with one answer has the margin 1.
    """
    if not answers.size or answers.shape[-1] < 2:
        return 1.0
    ranked = np.sort(answers, -1)
    return float((ranked[:, -1] - ranked[:, -2]).min())
