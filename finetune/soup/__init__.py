"""Average the weights of runs that began from one model.

soup(["runs/seed-1", "runs/seed-2"], Path("runs/soup"))                       all of them
soup(["runs/seed-1", "runs/seed-2"], Path("runs/soup"), data="valid.tsv")     those that help
"""

from plainformer.finetune.soup.folder import soup
from plainformer.finetune.soup.mix import Soup, greedy, mean_weights, uniform

__all__ = ["Soup", "greedy", "mean_weights", "soup", "uniform"]
