"""Compute a linear-chain conditional random field over tags.

    s(x, y) = start[y₁] + Σ x[t, yₜ] + Σ transitions[yₜ, yₜ₊₁] + end[yₙ]
    p(y | x) = exp s(x, y) / Z,    Z = Σ over all y' of exp s(x, y')

x[t, y] is the score of tag y at word t. The forward algorithm computes Z word by word; Viterbi's
algorithm finds the best y by the same recursion with max in place of log-sum-exp (Lafferty et al.
2001; for entities Lample et al. 2016, arXiv:1603.01360).

Without learned transitions each is 0 or `FORBIDDEN`: the tags of the words are then independent
except that all sequences are legal, and the best y is the best legal one.

Sentences are packed: the words of all sentences are one row, in any order of length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from plainformer.base import UserError, atomic_path
from plainformer.base.tensors import save_tensors
from plainformer.encoder import Encoder, Sequences, TokenClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tasks.tagging.iob import OUTSIDE, is_legal
from plainformer.finetune.tuning.adapter import add_tensors

FORBIDDEN = -1e9
"""The score of an illegal tag or transition; it is finite, so that gradients are defined."""
FILE = "crf.safetensors"

Scores = Float[Tensor, "words labels"]


@dataclass(frozen=True)
class Chain:
    """The scores of the first tag, of each two neighbouring tags and of the last tag."""

    start: Float[Tensor, " labels"]
    transitions: Float[Tensor, "labels labels"]
    """The score of tag j after tag i, at [i, j]."""
    end: Float[Tensor, " labels"]

    @classmethod
    def free(cls, num_labels: int) -> "Chain":
        """Build a chain in which all scores are 0."""
        return cls(torch.zeros(num_labels), torch.zeros(2 * (num_labels,)), torch.zeros(num_labels))

    @classmethod
    def legal(cls, labels: Sequence[str]) -> "Chain":
        """Build a chain that allows IOB2 only: an I- only within an entity of its type."""
        allowed = torch.tensor([[is_legal(tag, before) for tag in labels] for before in labels])
        first = torch.tensor([is_legal(tag, OUTSIDE) for tag in labels])
        free = cls.free(len(labels))
        return cls(
            free.start.masked_fill(~first, FORBIDDEN),
            free.transitions.masked_fill(~allowed, FORBIDDEN),
            free.end,
        )

    @classmethod
    def mean(cls, chains: Sequence["Chain"]) -> "Chain":
        """Compute the mean of the scores of several chains."""
        parts = [(chain.start, chain.transitions, chain.end) for chain in chains]
        return cls(*(torch.stack(scores).mean(0) for scores in zip(*parts, strict=True)))

    def scaled(self, factor: float | Float[Tensor, ""]) -> "Chain":
        """Multiply all scores by a factor."""
        return Chain(self.start * factor, self.transitions * factor, self.end * factor)

    def like(self, x: Tensor) -> "Chain":
        """Convert the chain to the data type and device of `x`."""
        return Chain(self.start.to(x), self.transitions.to(x), self.end.to(x))

    def score(
        self, x: Scores, tags: Int[Tensor, " words"], sequences: Sequences
    ) -> Float[Tensor, " sequences"]:
        """Compute s(x, y) of each sentence."""
        first, last = ends(sequences)
        follows = sequences.positions > 0
        scores = x.gather(1, tags[:, None])[:, 0]
        steps = self.transitions[tags.roll(1), tags].masked_fill(~follows, 0.0)
        sums = x.new_zeros(len(sequences.lengths)).index_add(
            0, sequences.sequence_ids, scores + steps
        )
        return self.start[tags[first]] + sums + self.end[tags[last]]

    def alphas(self, x: Scores, sequences: Sequences) -> Scores:
        """Compute α[t, y] = log Σ exp s(x₁…ₜ, y₁…ₜ) over all y₁…ₜ with yₜ = y; without `end`."""
        if not len(x):
            return x
        x_btl = sequences.pad(x)
        alpha = self.start + x_btl[:, 0]
        steps = [alpha]
        for t in range(1, sequences.max_length):
            alpha = (alpha[:, :, None] + self.transitions).logsumexp(1) + x_btl[:, t]
            steps.append(alpha)
        return sequences.unpad(torch.stack(steps, 1))

    def betas(self, x: Scores, sequences: Sequences) -> Scores:
        """Compute β[t, y] = log Σ exp of the scores after yₜ = y, over all yₜ₊₁…ₙ, with `end`.

        β is α of the reversed sentences, minus x[t, y] itself.
        """
        first, last = ends(sequences)
        mirror = (first + last)[sequences.sequence_ids] - torch.arange(len(x), device=x.device)
        reverse = Chain(self.end, self.transitions.T, self.start)
        return reverse.alphas(x[mirror], sequences)[mirror] - x

    def log_partition(self, x: Scores, sequences: Sequences) -> Float[Tensor, " sequences"]:
        """Compute log Z of each sentence."""
        _, last = ends(sequences)
        return (self.alphas(x, sequences)[last] + self.end).logsumexp(-1)

    def log_likelihood(
        self, x: Scores, tags: Int[Tensor, " words"], sequences: Sequences
    ) -> Float[Tensor, " sequences"]:
        """Compute log p(y | x) of each sentence."""
        return self.score(x, tags, sequences) - self.log_partition(x, sequences)

    def best(self, x: Scores, sequences: Sequences) -> Int[Tensor, " words"]:
        """Find the most probable y of each sentence (Viterbi)."""
        if not len(x):
            return sequences.positions
        x_btl = sequences.pad(x)
        score = self.start + x_btl[:, 0]
        scores, came_from = [score], [torch.zeros_like(score, dtype=torch.int64)]
        for t in range(1, sequences.max_length):
            score, before = (score[:, :, None] + self.transitions).max(1)
            score = score + x_btl[:, t]
            scores.append(score)
            came_from.append(before)
        _, last = ends(sequences)
        final = (sequences.unpad(torch.stack(scores, 1))[last] + self.end).argmax(-1)
        end = sequences.positions[last]
        tag, tags = final, []
        for t in reversed(range(sequences.max_length)):
            tag = torch.where(end == t, final, tag)
            tags.append(tag)
            tag = came_from[t].gather(1, tag[:, None])[:, 0]
        return sequences.unpad(torch.stack(tags[::-1], 1))


@dataclass(frozen=True)
class Posterior:
    """The best tags of sentences, and the probabilities of these tags and of entities."""

    chain: Chain
    x: Scores
    sequences: Sequences
    tags: Int[Tensor, " words"]
    """The best tag of each word."""
    alpha: Scores
    beta: Scores
    log_partition: Float[Tensor, " words"]
    """The log Z of the sentence of each word."""

    @classmethod
    def of(cls, chain: Chain, x: Scores, sequences: Sequences) -> "Posterior":
        """Compute α, β and the best tags of the sentences."""
        alpha, beta = chain.alphas(x, sequences), chain.betas(x, sequences)
        tags = chain.best(x, sequences)
        return cls(chain, x, sequences, tags, alpha, beta, (alpha + beta).logsumexp(-1))

    def log_marginals(self) -> Scores:
        """Compute log p(yₜ | x) of each tag of each word: α + β − log Z."""
        return self.alpha + self.beta - self.log_partition[:, None]

    def of_tags(self) -> list[float]:
        """Compute the marginal p(yₜ | x) of each word's tag."""
        return self.log_marginals().gather(1, self.tags[:, None])[:, 0].exp().tolist()

    def of_spans(
        self, spans: Sequence[tuple[int, int]], continues: Bool[Tensor, "labels labels"]
    ) -> list[float]:
        """Compute the probability of exactly each entity `words[begin:end]`, not of a longer one.

        `continues[i, j]` is true where label j continues an entity whose last label is i.
        """
        if not spans:
            return []
        begin, last = torch.tensor(spans).unbind(1)
        last = last - 1
        first_tag, last_tag = self.tags[begin], self.tags[last]
        step = self.x.gather(1, self.tags[:, None])[:, 0]
        follows = self.sequences.positions > 0
        between = self.chain.transitions[self.tags.roll(1), self.tags]
        step = step + between.masked_fill(~follows, 0.0)
        path = step.cumsum(0)
        inside = self.alpha[begin, first_tag] + path[last] - path[begin] - self.log_partition[last]
        after = (last + 1).clamp(max=len(self.x) - 1)
        is_last = (after == last) | (self.sequences.positions[after] == 0)
        further = self.chain.transitions[last_tag] + self.x[after] + self.beta[after]
        further = further.masked_fill(~continues[last_tag] | is_last[:, None], -torch.inf)
        longer = inside + further.logsumexp(-1)
        probability = (inside + self.beta[last, last_tag]).exp() - longer.exp()
        return probability.clamp(0.0, 1.0).tolist()


def ends(sequences: Sequences) -> tuple[Int[Tensor, " sequences"], Int[Tensor, " sequences"]]:
    """Return the packed positions of the first and the last word of each sentence."""
    bounds = sequences.cu_seqlens.long()
    return bounds[:-1], bounds[1:] - 1


class CRF(nn.Module):
    """A chain of learned scores that allows IOB2 only.

    The parameters start at 0 and are 1-D, so weight decay skips them. A parameter is score / 64:
    at the same learning rate a score changes 64 times faster than a weight of the encoder.
    """

    SCALE = 64.0

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.legal = Chain.legal(labels)
        self.start = nn.Parameter(torch.zeros(len(labels)))
        self.transitions = nn.Parameter(torch.zeros(len(labels) ** 2))
        self.end = nn.Parameter(torch.zeros(len(labels)))

    @property
    def chain(self) -> Chain:
        """Return the learned scores, with illegal ones `FORBIDDEN`."""
        legal = self.legal.like(self.start)
        return Chain(
            legal.start + self.SCALE * self.start,
            legal.transitions + self.SCALE * self.transitions.view_as(legal.transitions),
            legal.end + self.SCALE * self.end,
        )


class ChainTagger(PretrainedModel):
    """A token classifier with a CRF on its logits.

    It is saved as a token classifier, with the CRF in `crf.safetensors`; programs that do not know
    that file load the token classifier alone.
    """

    def __init__(self, classifier: TokenClassifier, labels: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.config = classifier.config
        self.labels = classifier.labels if labels is None else labels
        self.classifier = classifier
        self.crf = CRF(self.labels)

    @property
    def base(self) -> Encoder:
        """Return the encoder under the classifier."""
        return self.classifier.base

    @property
    def blocks(self) -> nn.ModuleList:
        """Return the blocks of the encoder."""
        return self.base.blocks

    def forward(self, *args: Any, **kwargs: Any) -> Float[Tensor, "*tokens labels"]:
        """Compute the token classifier's logits, the x of the formula."""
        logits: Tensor = self.classifier(*args, **kwargs)
        return logits

    @property
    def saved(self) -> TokenClassifier:
        """Return the token classifier."""
        return self.classifier

    def save_files(self, folder: Path) -> None:
        """Write `crf.safetensors`."""
        tensors = {name: p.detach() * CRF.SCALE for name, p in self.crf.named_parameters()}
        try:
            with atomic_path(folder / FILE) as path:
                save_tensors(tensors, path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot write the model to {folder}: {error}") from None

    @classmethod
    def load(cls, folder: Path) -> "ChainTagger":
        """Load a saved tagger; raise `UserError` for a damaged one or one of other labels."""
        model = cls(TokenClassifier.from_pretrained(folder, add=add_tensors))
        path = folder / FILE
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} is missing or damaged: {error}") from None
        wanted = {name: p.shape for name, p in model.crf.named_parameters()}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != wanted:
            raise UserError(f"{path} does not fit {len(model.labels)} labels: it has {found}")
        model.crf.load_state_dict({name: t / CRF.SCALE for name, t in tensors.items()})
        return model.eval()
