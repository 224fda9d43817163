"""Choose a core-set: points that cover a pool (Sener & Savarese 2018, arXiv:1708.00489, alg. 1).

    repeat:  u = argmax over the pool of  min over c in centres ‖x_u − x_c‖;   add u to the centres

The centres begin with the points that are labelled. This greedy choice covers the pool with balls
of at most twice the smallest possible radius (k-center).
"""

import numpy as np
from jaxtyping import Float

BLOCK = 1024
"""The rows of the pool whose distances to all centres are in memory at a time."""


def k_center(
    pool: Float[np.ndarray, "pool size"], centres: Float[np.ndarray, "centres size"], count: int
) -> list[tuple[int, float]]:
    """Choose `count` points of the pool; return each with its distance to the nearest centre then.

    Of equally distant points the first is chosen.
    """
    x, c = pool.astype(np.float64), centres.astype(np.float64)
    blocks = (x[at : at + BLOCK] for at in range(0, len(x), BLOCK))
    nearest = np.concatenate([distances(block, c).min(1) for block in blocks])
    chosen: list[tuple[int, float]] = []
    for _ in range(min(count, len(x))):
        index = int(nearest.argmax())
        chosen.append((index, float(nearest[index])))
        nearest = np.minimum(nearest, np.linalg.norm(x - x[index], axis=1))
        nearest[index] = -1  # never again
    return chosen


def distances(
    x: Float[np.ndarray, "points size"], c: Float[np.ndarray, "centres size"]
) -> Float[np.ndarray, "points centres"]:
    """Compute the Euclidean distances between two sets of points."""
    squares = (x**2).sum(1)[:, None] + (c**2).sum(1) - 2 * x @ c.T
    found: Float[np.ndarray, "points centres"] = np.sqrt(np.maximum(squares, 0))
    return found
