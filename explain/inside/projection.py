"""Lay the vectors of texts out in a plane, to see which are alike.

    PCA      the two directions of most variance (Pearson 1901): far apart is really far apart
    t-SNE    places whose neighbourhoods are those of the vectors (van der Maaten & Hinton 2008):
             groups are real, their sizes and distances are not; by scikit-learn

predictor = open_model("runs/labels")
found = project(predictor, labelled_texts(predictor, "trec", "test"))
found.pca, found.explained
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from plainformer.base import UserError, atomic_path
from plainformer.base.extras import need
from plainformer.base.pca import principal_components
from plainformer.base.progress import ProgressBar
from plainformer.explain.inside.neighbours import pooled_vectors
from plainformer.explain.inside.training import Shown
from plainformer.finetune.prediction.predictor import Predictor

FEWEST = 5
"""The fewest texts that make a map."""
PERPLEXITY = 30.0
"""About how many neighbours each text has in t-SNE."""


@dataclass(frozen=True)
class Projection:
    """Labelled texts with their places in the plane."""

    shown: Sequence[Shown]
    pca: Float[np.ndarray, "texts 2"]
    explained: tuple[float, float]
    """The share of the variance along each of the two directions."""
    tsne: Float[np.ndarray, "texts 2"]

    def write(self, path: Path) -> None:
        """Write a row for each text, between tabs: its label, its places, its text."""
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            rows = csv.writer(file, "excel-tab", lineterminator="\n")
            rows.writerow(("label", "pca1", "pca2", "tsne1", "tsne2", "text"))
            for one, a, b in zip(self.shown, self.pca.tolist(), self.tsne.tolist(), strict=True):
                places = [f"{number:.6g}" for number in (*a, *b)]
                rows.writerow((one.label, *places, " ".join(one.text.split())))


def project(
    predictor: Predictor, shown: Sequence[Shown], seed: int = 0, quiet: bool = True
) -> Projection:
    """Compute the vectors of texts, and their places by PCA and by t-SNE.

    Raises `UserError` for too few texts, for vectors that are all the same, and without
    scikit-learn.
    """
    need("sklearn", extra="explain", purpose="t-SNE")
    if len(shown) < FEWEST:
        raise UserError(f"a map needs at least {FEWEST} texts, not {len(shown)}")
    vectors = pooled_vectors(predictor, [one.example for one in shown], quiet)
    x = torch.from_numpy(vectors).double()
    variance = x.var(0).sum()
    if not variance > 0:
        raise UserError("the vectors of all texts are the same: there is nothing to lay out")
    pca = principal_components(x, 2)
    first, second = (pca.var(0) / variance).tolist()
    with ProgressBar("t-SNE", None, quiet=quiet) as bar:
        bar.update(0, f"of {len(shown):,} vectors")
        places = tsne(vectors, seed)
    return Projection(shown, pca.numpy(), (first, second), places)


def tsne(x: Float[np.ndarray, "texts size"], seed: int = 0) -> Float[np.ndarray, "texts 2"]:
    """Compute the places of vectors by t-SNE, beginning at those of PCA."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    places: Float[np.ndarray, "texts 2"] = model.fit_transform(x.astype(np.float64))
    return places
