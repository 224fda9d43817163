# %% [markdown]
# # Sentences as vectors
#
# A text becomes one vector, a *sentence embedding*, and texts that mean nearly the same get nearly
# the same vector: then searching is a matter of angles. We make such vectors by hand, hold the
# angles against what people say, see what an angle does not tell, and train a small model to call
# other things alike.

# %% setup
import re

import numpy as np
import torch
from guide import BLUE, GREY, ORANGE, check, claim, panel, show, show_frames
from torch import Tensor

from plainformer.corpora import fetch, read_rows
from plainformer.encoder import Encoder, SentenceEncoder
from plainformer.finetune import Embedder, in_batch
from plainformer.finetune.metrics import NumberMetric
from plainformer.tokenizer import load_tokenizer

# %% [markdown]
# ## One vector for a text
#
# The encoder gives one vector for each token. The simplest way to one vector for the text is their
# mean, *mean pooling*, over the real tokens and not the padding; then it is scaled to length 1:
#
# $$v = \frac{1}{n} \sum_{i=1}^{n} h_i, \qquad e = \frac{v}{|v|}$$
#
# `minilm` is a BERT of six layers that others have trained for such vectors.

# %% pooling
encoder, tokenizer = Encoder.from_pretrained("minilm"), load_tokenizer("minilm")
TEXTS = ["A man is playing a guitar.", "Rain."]
batch = tokenizer.batch(TEXTS)
with torch.no_grad():
    h = encoder(**batch).last_hidden_state  # (texts, tokens, 384)
real = batch["attention_mask"][:, :, None]
v = (h * real).sum(dim=1) / real.sum(dim=1)
by_hand = v / v.norm(dim=1, keepdim=True)

# %% [markdown]
# `Embedder` does the same from text to vector.

# %% embedder
embedder = Embedder.load("minilm", device="cpu")
vectors = torch.from_numpy(embedder(TEXTS))
torch.testing.assert_close(by_hand, vectors, rtol=1e-4, atol=1e-5)
print(f"{len(TEXTS)} texts of {real.sum(dim=1).flatten().tolist()} tokens → {tuple(vectors.shape)}")

# %% [markdown]
# ## The angle between two texts
#
# How alike are two vectors? The *cosine* of their angle, known from [the vectors of
# words](02_vectors.py), is 1 where they point the same way, 0 at a right angle, and −1 where they
# are opposite:
#
# $$\cos(a, b) = \frac{a \cdot b}{|a|\,|b|}$$
#
# For vectors of length 1 that is the dot product alone. The length of a vector plays no part in it:
# three times the vector has the same angle with all others.


# %% cosine
def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Compute the cosine of the angle between vectors."""
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


a, b = v
torch.testing.assert_close(cosine(a, b), torch.cosine_similarity(a, b, dim=0))
torch.testing.assert_close(cosine(a, b), vectors[0] @ vectors[1], rtol=1e-4, atol=1e-5)
torch.testing.assert_close(cosine(3 * a, b), cosine(a, b))

# %% [markdown]
# Nine sentences about three things. No two of one group share a noun, and still they find each
# other: the blocks on the diagonal are the groups.

# %% groups
SENTENCES = [
    "A man is playing a guitar.",
    "Someone strums an instrument.",
    "The band gave a concert.",
    "The stock market fell sharply.",
    "Share prices are down.",
    "Investors lost a lot of money.",
    "It will rain tomorrow.",
    "The forecast says storms.",
    "Take an umbrella with you.",
]
vectors = embedder(SENTENCES)
cosines = vectors @ vectors.T
group = np.arange(9) // 3
is_same = (group[:, None] == group) & ~np.eye(9, dtype=bool)
is_other = group[:, None] != group
print(
    f"within a group {cosines[is_same].mean():.2f}, between groups {cosines[is_other].mean():.2f}"
)
assert cosines[is_same].mean() > cosines[is_other].mean() + 0.2

# %% groups-picture
figure, axes = panel(6.5, 5)
image = axes.imshow(cosines, cmap="cividis", vmin=0, vmax=1)
axes.set_yticks(range(9), SENTENCES)
axes.set_xticks(range(9), range(1, 10))
axes.grid(visible=False)
figure.colorbar(image, ax=axes, label="cosine", shrink=0.65)
show(
    figure,
    "A map of the cosines of nine sentences: three bright blocks on the diagonal, for music, money "
    "and weather, and dark elsewhere.",
)

# %% [markdown]
# ## Against what people say
#
# The STS benchmark has pairs of sentences with a score from 0 to 5: how alike they are in meaning,
# as several people said. We take 300 pairs of the test part, and compare the cosines with the
# scores.

# %% pairs
rows = [row.fields for row in read_rows(fetch("stsb") / "test.jsonl")]
chosen = np.random.default_rng(0).permutation(len(rows))[:300]
firsts, seconds = ([rows[i][name] for i in chosen] for name in ("text", "pair"))
scores = np.array([rows[i]["score"] for i in chosen])
for i in (0, 1, 2):
    print(f"{scores[i]:.1f}  {firsts[i]} | {seconds[i]}")

# %% [markdown]
# A cosine is no score from 0 to 5, and need not be: it should only put the pairs in the same order.
# *Spearman's correlation* measures that. Both series are replaced by their ranks (equal numbers
# share the mean of their ranks), and the ranks are correlated:
#
# $$\rho = \frac{\sum_i (r_i - \bar r)(s_i - \bar s)}
# {\sqrt{\sum_i (r_i - \bar r)^2 \, \sum_i (s_i - \bar s)^2}}$$


# %% spearman
def ranks(x: np.ndarray) -> np.ndarray:
    """Return the rank of each number, from 1; equal numbers share the mean of their ranks."""
    smaller, equal = (x < x[:, None]).sum(1), (x == x[:, None]).sum(1)
    return smaller + (equal + 1) / 2


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Correlate the ranks of two series."""
    r, s = ranks(x) - ranks(x).mean(), ranks(y) - ranks(y).mean()
    return float(r @ s / np.sqrt((r @ r) * (s @ s)))


pair_cosines = (embedder(firsts) * embedder(seconds)).sum(axis=1)
metric = NumberMetric()
for score, value in zip(scores, pair_cosines, strict=True):
    metric.add(score, float(value))
assert np.isclose(spearman(scores, pair_cosines), metric.scores()["spearman"], atol=1e-9)
claim(spearman(scores, pair_cosines), "0.82", within=0.01)

# %% spearman-picture
figure, axes = panel(5.5, 4)
axes.plot(scores, pair_cosines, "o", color=BLUE, markersize=4, alpha=0.6)
axes.set_xlabel("what people say (0 to 5)")
axes.set_ylabel("cosine")
show(
    figure,
    "300 pairs as dots: the higher people score a pair, the larger its cosine, with scatter.",
)

# %% [markdown]
# The correlation is 0.82. Is that hard to reach? The share of
# words that two sentences have in common, without any model, gives 0.58. And SPLADE, a BERT of two
# layers that was trained for search by words and never for such vectors, gives 0.62 by its mean
# vectors, hardly more than the words.


# %% baselines
def overlap(first: str, second: str) -> float:
    """Return the share of words that two texts have in common."""
    words = [set(re.findall(r"\w+", text.lower())) for text in (first, second)]
    return len(words[0] & words[1]) / len(words[0] | words[1])


shared = np.array([overlap(*texts) for texts in zip(firsts, seconds, strict=True)])
splade = Embedder.load("splade", device="cpu")
splade_cosines = (splade(firsts) * splade(seconds)).sum(axis=1)
claim(spearman(scores, shared), "0.58", within=0.01)
claim(spearman(scores, splade_cosines), "0.62", within=0.01)

# %% [markdown]
# ## What a cosine does not say
#
# A vector of a sentence holds what it is about. Who does what to whom, and whether it is so at all,
# hardly show:

# %% blind
BLIND = [
    ("The dog bites the man.", "The man bites the dog."),
    ("I like this film.", "I do not like this film."),
    ("It costs 10 dollars.", "It costs 1000 dollars."),
]
for first, second in BLIND:
    one, other = embedder([first, second])
    print(f"{one @ other:.2f}  {first} | {second}")
    assert one @ other > 0.7

# %% [markdown]
# And the more a text says, the less of each thing is left in its mean. We put one to four other
# sentences after the first one, and look at its cosine with a sentence of the same meaning. It
# falls from 0.56 to about 0.4 with the first of them, and stays there. Long texts are therefore cut
# into passages before they are embedded.

# %% diluted
question = embedder(["Someone strums an instrument."])[0]
others = [SENTENCES[i] for i in (3, 6, 4, 7)]
longer = [" ".join([SENTENCES[0], *others[:count]]) for count in range(5)]
falling = embedder(longer) @ question
print([f"{value:.2f}" for value in falling])
claim(falling[0], "0.56", within=0.02)
claim(falling[1:].max(), "0.4", within=0.1)
assert falling[1:].min() > 0.3

# %% [markdown]
# And a cosine is no absolute measure. We take each first sentence of the pairs with the second
# sentences of all other pairs, which have, but for a few, nothing to do with it. For `minilm` such
# cosines have a mean of 0.02; for SPLADE, of 0.64. Its vectors fill a narrow cone: they are
# *anisotropic*, with a large part that all of them share. A cosine of two thirds means *alike* in
# one model, and nothing at all in the other. Only the order within one model counts.

# %% cone
means = {}
figure, axes = panel(6, 3.4)
for (name, model), colour, hatch in zip(
    {"minilm": embedder, "splade": splade}.items(), (BLUE, ORANGE), ("", "//"), strict=True
):
    table = model(firsts) @ model(seconds).T
    unrelated = table[~np.eye(len(table), dtype=bool)]
    means[name] = unrelated.mean()
    axes.hist(unrelated, bins=60, color=colour, hatch=hatch, alpha=0.6, label=name, density=True)
claim(means["minilm"], "0.02", within=0.02)
claim(means["splade"], "0.64", within=0.02)
axes.set_xlabel("cosine of two unrelated sentences")
axes.set_ylabel("density")
axes.legend(frameon=False)
show(
    figure,
    "Two histograms of the cosines of unrelated sentences: that of minilm is centred at zero, that "
    "of splade at 0.64, and they hardly overlap.",
)

# %% [markdown]
# ## Search
#
# A *semantic search* is now one product: all vectors times that of the question. Our texts are 400
# questions from the TREC collection, embedded once; each query then costs one forward pass.

# %% search
asked = [row.fields for row in read_rows(fetch("trec") / "test.jsonl")][:400]
texts = [row["text"] for row in asked]
index = embedder(texts)


def search(query: str, count: int = 3) -> list[str]:
    """Find the texts whose vectors have the smallest angle with that of the query."""
    found = index @ embedder([query])[0]
    return [f"{found[i]:.2f}  {texts[i]}" for i in found.argsort()[::-1][:count]]


for query in ("Which mountain is the tallest?", "Who painted this picture?", "wedding"):
    print(query, *search(query), sep="\n    ")
assert "married" in search("wedding", 1)[0]

# %% [markdown]
# The query and what it finds need not share a word: *wedding* finds a question with *married*. For
# millions of texts one does not multiply with all of them but keeps an index that finds the nearest
# approximately; the vectors are the same.
#
# ## Learning what is alike
#
# How does a model learn such vectors? From pairs that belong together, and from all other pairs of
# the batch, which do not: *contrastive learning*. Text $i$ has the vector $a_i$, its partner $b_i$.
# Among the partners of all $n$ texts of the batch, $a_i$ should choose its own, by a softmax over
# the cosines divided by a *temperature* $\tau$:
#
# $$L = -\frac{1}{n} \sum_{i=1}^{n} \log
# \frac{\exp(\cos(a_i, b_i) / \tau)}{\sum_{j=1}^{n} \exp(\cos(a_i, b_j) / \tau)}$$
#
# It is known as InfoNCE, and as the multiple negatives ranking loss. The partners of the others are
# the *in-batch negatives*; they cost nothing, since they are encoded anyway. The project's loss has
# $\tau = 1/20$:

# %% loss
generator = torch.Generator().manual_seed(0)
a, b = (torch.nn.functional.normalize(torch.randn(4, 8, generator=generator)) for _ in "ab")
exponentials = np.exp((a @ b.T).numpy() / 0.05)
formula = -np.log(np.diag(exponentials) / exponentials.sum(axis=1)).mean()
loss = in_batch(a, b)
assert np.isclose(formula, float(loss.total) / loss.items, rtol=1e-5)
print(f"the formula gives {formula:.4f}, the project {float(loss.total) / loss.items:.4f}")

# %% [markdown]
# Why a temperature? Cosines lie between −1 and 1, and a softmax over numbers so close together is
# nearly flat. Say the right partner has a cosine of 8 tenths and the best wrong one 6 tenths. At
# $\tau = 1$ the right one gets 25 % of the softmax, and never more than 60 %, even if its cosine
# were 1 and those of the five others −1; at $\tau = 1/20$ it gets 98 %, and the loss looks at the
# few wrong ones that come near.

# %% temperature
cosines = torch.tensor([0.8, 0.6, 0.4, 0.2, 0.1, 0.0])
figure, axes = panel(6, 3.4)
for tau, colour, style in ((1, GREY, "^:"), (0.2, ORANGE, "s--"), (0.05, BLUE, "o-")):
    shares = (cosines / tau).softmax(0)
    axes.plot(range(1, 7), shares, style, color=colour, label=f"temperature {tau:g}")
claim(100 * float(cosines.softmax(0)[0]), "25 %", within=1)
claim(100 * float((cosines / 0.05).softmax(0)[0]), "98 %", within=1)
claim(100 * float(torch.tensor([1.0, -1, -1, -1, -1, -1]).softmax(0)[0]), "60 %", within=1)
axes.set_xticks(range(1, 7), [f"{c:g}" for c in cosines.tolist()])
axes.set_xlabel("cosine of the candidate (the first is right)")
axes.set_ylabel("share of the softmax")
axes.legend(frameon=False)
show(
    figure,
    "The softmax over six candidates at three temperatures: flat at 1, steeper at 0.2, and nearly "
    "all on the right candidate at 0.05.",
)

# %% [markdown]
# ## A short training
#
# What is alike is decided by the pairs. TREC's questions are labelled with the type of their
# answer: a city, a date, a person's description. Of its 50 fine types 49 occur in this training
# part. We declare two questions alike when their types are, whatever they are about, and train
# SPLADE on such pairs for 40 steps.

# %% questions
train = [row.fields for row in read_rows(fetch("trec") / "train.jsonl")]
of_type: dict[str, list[str]] = {}
for row in train:
    of_type.setdefault(row["fine"], []).append(row["text"])
print(f"{len(train):,} questions, {len(of_type)} types")
assert len(of_type) == 49
print(*of_type["LOC:mount"][:3], sep="\n")

# %% [markdown]
# We measure twice, before and after. First: has the nearest neighbour of a test question the same
# of the six coarse types (a place, a number, a person …)? Second: Spearman's correlation on the 300
# pairs from above, which asks for meaning.

# %% measure
small = load_tokenizer("splade")
kinds = np.array([row["label"] for row in asked])


@torch.no_grad()
def embed(model: SentenceEncoder, texts: list[str]) -> np.ndarray:
    """Compute the vectors of texts without dropout."""
    model.eval()
    found = model(**small.batch(texts)).numpy()
    model.train()
    return found


def neighbours(vectors: np.ndarray) -> float:
    """Return the share of questions whose nearest neighbour has the same type."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    return float((kinds == kinds[cosines.argmax(axis=1)]).mean())


def meaning(model: SentenceEncoder) -> float:
    """Return Spearman's correlation on the pairs of sentences."""
    return spearman(scores, (embed(model, firsts) * embed(model, seconds)).sum(axis=1))


# %% training
torch.manual_seed(0)
rng = np.random.default_rng(0)
model = SentenceEncoder.from_pretrained("splade").train()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
before, frames = meaning(model), {}
for step in range(41):
    if step in (0, 5, 10, 20, 40):
        frames[step] = embed(model, texts)
    anchors = [train[i] for i in rng.choice(len(train), 64, replace=False)]
    partners = [rng.choice(of_type[row["fine"]]) for row in anchors]
    a = model(**small.batch([row["text"] for row in anchors]))
    b = model(**small.batch(partners))
    loss = in_batch(a, b)
    (loss.total / loss.items).backward()
    optimizer.step()
    optimizer.zero_grad()
after = meaning(model)
print({step: f"{100 * neighbours(vectors):.0f} %" for step, vectors in frames.items()})

# %% [markdown]
# Before, for 56 % of the questions the nearest neighbour has the same type; after 40 steps 80 %. It
# shows when the vectors are laid flat: we project them onto the two directions in which they differ
# most (a principal component analysis), and follow three of the types.

# %% flat
centre = frames[40].mean(axis=0)
_, _, directions = np.linalg.svd(frames[40] - centre, full_matrices=False)
TYPES = {
    "HUM": ("a person", BLUE, "o"),
    "NUM": ("a number", ORANGE, "s"),
    "LOC": ("a place", "black", "^"),
}
figures = []
for vectors in frames.values():
    figure, axes = panel(5.5, 4.5)
    flat = (vectors - vectors.mean(axis=0)) @ directions[:2].T
    for kind, (name, colour, marker) in TYPES.items():
        axes.scatter(
            *flat[kinds == kind].T, s=22, color=colour, marker=marker, alpha=0.6, label=name
        )
    axes.set_xlim(-0.8, 0.8)
    axes.set_ylim(-0.8, 0.8)
    axes.legend(frameon=False, loc="upper left")
    figures.append(figure)
claim(100 * neighbours(frames[0]), "56 %", within=2)
claim(100 * neighbours(frames[40]), "80 %", within=5)
show_frames(
    figures,
    [f"step {step}" for step in frames],
    "Questions as points, marked by the type of their answer: mixed at the beginning; after 40 "
    "steps those that ask for a person, a number and a place are apart.",
)

# %% [markdown]
# And the meaning? The correlation with what people say falls from 0.62 to 0.42. The model has
# learned that *Who painted it?* and *Who is the mayor?* are alike, and for the benchmark they are
# not. A sentence embedding is not good or bad in itself: it holds the kind of likeness that its
# training pairs have, and gives up others for it.

# %% price
claim(before, "0.62", within=0.01)
claim(after, "0.42", within=0.08)

# %% [markdown]
# `plainformer finetune sentence-embedding --model splade --train pairs.csv` trains with this loss
# from a file with the columns `text` and `pair` (and takes care of batches, validation and
# checkpoints); with a column `score` it learns the scores themselves.
#
# ## Exercises
#
# **1.** Find the nearest vectors when they do not have length 1.


# %% exercise-1
def nearest(query: np.ndarray, vectors: np.ndarray, count: int) -> list[int]:
    """Return the rows of `vectors` with the largest cosine with `query`, the largest first."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(50, 6)) * rng.uniform(0.1, 10, size=(50, 1))
    query = 7 * vectors[13] + 0.01 * rng.normal(size=6)
    expected = sorted(
        range(50),
        key=lambda i: -(vectors[i] @ query) / (np.linalg.norm(vectors[i]) * np.linalg.norm(query)),
    )
    assert list(nearest(query, vectors, 5)) == expected[:5]
    assert list(nearest(query, vectors, 50)) == expected


# %% [markdown]
# <details><summary>Hint</summary>The length of the query is the same for all rows; that of a row is
# not. `argsort` sorts from the smallest.</details>


# %% solution-1
def nearest(query: np.ndarray, vectors: np.ndarray, count: int) -> list[int]:
    """Return the rows of `vectors` with the largest cosine with `query`, the largest first."""
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1)
    return np.argsort(-cosines)[:count].tolist()


# %% [markdown]
# **2.** SPLADE's cone has a common part. Take it away: subtract from each vector the mean of all,
# and scale to length 1 again. Unrelated sentences are then about at a right angle. Does the order
# get better, too? (Look at what the check prints.)


# %% exercise-2
def centred(vectors: np.ndarray) -> np.ndarray:
    """Subtract the mean of all vectors from each, and scale them to length 1."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    both = splade([*firsts, *seconds])
    moved = centred(both)
    assert np.allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)
    direction = moved[7] - (both[7] - both.mean(axis=0)) / np.linalg.norm(
        both[7] - both.mean(axis=0)
    )
    assert np.abs(direction).max() < 1e-5
    assert abs((moved @ moved.T)[~np.eye(len(moved), dtype=bool)].mean()) < 0.02
    new = (moved[:300] * moved[300:]).sum(axis=1)
    print(
        f"Spearman {spearman(scores, splade_cosines):.3f} before, {spearman(scores, new):.3f} after"
    )


# %% [markdown]
# <details><summary>Hint</summary>First the mean over the rows, then the division by the lengths of
# what is left. The order does not get better here: the subtraction changes the cosines, but not
# towards what people say.</details>


# %% solution-2
def centred(vectors: np.ndarray) -> np.ndarray:
    """Subtract the mean of all vectors from each, and scale them to length 1."""
    moved = vectors - vectors.mean(axis=0)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


# %% [markdown]
# **3.** In our training, two questions of one batch may have the same type; then each is a *false
# negative* of the other. Write the loss so that a text never counts the partner of another text of
# its own type as wrong.


# %% exercise-3
def without_false_negatives(a: Tensor, b: Tensor, types: list[str], tau: float = 0.05) -> Tensor:
    """Compute the mean contrastive loss; vectors have length 1, row i of both has `types[i]`."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = (torch.nn.functional.normalize(torch.randn(6, 8, generator=generator)) for _ in "ab")
    loss = in_batch(a, b)
    all_apart = without_false_negatives(a, b, list("uvwxyz"))
    torch.testing.assert_close(all_apart, loss.total / loss.items)
    torch.testing.assert_close(without_false_negatives(a, b, ["x"] * 6), torch.tensor(0.0))
    types = list("xyxzyx")
    expected = 0.0
    for i in range(6):
        kept = [j for j in range(6) if j == i or types[j] != types[i]]
        values = (a[i] @ b[kept].T / 0.05).exp()
        expected -= float((values[kept.index(i)] / values.sum()).log()) / 6
    assert abs(float(without_false_negatives(a, b, types)) - expected) < 1e-4
    warmer = without_false_negatives(a, b, list("uvwxyz"), tau=1.0)
    torch.testing.assert_close(warmer, (a @ b.T).log_softmax(1).diag().mean().neg())


# %% [markdown]
# <details><summary>Hint</summary>What must stand in the place of a cosine so that its exponential
# is zero? The own partner on the diagonal has the same type as well, and must stay.</details>


# %% solution-3
def without_false_negatives(a: Tensor, b: Tensor, types: list[str], tau: float = 0.05) -> Tensor:
    """Compute the mean contrastive loss; vectors have length 1, row i of both has `types[i]`."""
    false = torch.tensor([[x == y for y in types] for x in types]).fill_diagonal_(False)
    logits = (a @ b.T / tau).masked_fill(false, -torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(a)))
