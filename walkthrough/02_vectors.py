# %% [markdown]
# # Vectors and positions
#
# A token's id says nothing about the token: id 1857 is not "more" than id 83. So the model gives
# each token a list of numbers of its own, a **vector**, and learns it. This chapter shows the table
# of these vectors, fills it with vectors that know which words are alike, and then adds what the
# table lacks: the order of the words. There are four ways, and they do not see the same.
#
# ## A table with a row for each token
#
# The table is called the **embedding**, and to use it is to look up rows.

# %% table
import torch
from torch import nn
from torch.testing import assert_close

torch.manual_seed(0)
table = nn.Embedding(1000, 64)  # 1,000 tokens, vectors of 64 numbers
ids = torch.tensor([83, 12, 83])
assert_close(table(ids), table.weight[ids])
print(table(ids).shape)

# %% [markdown]
# It can also be read as a product of matrices, $X = O\,E$: row $i$ of $O$ is 0 everywhere but 1 at
# the id of token $i$ (a **one-hot** vector). So the table is learned like any other matrix.

# %% one-hot
one_hot = nn.functional.one_hot(ids, num_classes=1000).float()
assert_close(one_hot @ table.weight, table(ids))

# %% [markdown]
# How alike are two vectors? Multiply them number by number and add up: this is the **dot product**
# $a \cdot b$. Divided by both lengths it is the **cosine** of the angle between them, 1 for the
# same direction and 0 for a right angle:
#
# $$\cos(a, b) = \frac{a \cdot b}{|a|\,|b|}$$

# %% cosine
a, b = table.weight[83], table.weight[12]
cosine = (a @ b) / (a.norm() * b.norm())
assert_close(cosine, torch.cosine_similarity(a, b, dim=0))

# %% [markdown]
# At the beginning the table is random. Random vectors with many numbers stand almost at right
# angles to each other: the cosines spread around 0 by about $1/\sqrt{64}$.


# %% random-cosines
from guide import claim


def cosines(rows: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each row with each row."""
    unit = rows / rows.norm(dim=1, keepdim=True)
    return unit @ unit.T


off_diagonal = cosines(table.weight.detach())[~torch.eye(1000, dtype=torch.bool)]
claim(off_diagonal.mean(), "0.00", within=0.005)
claim(off_diagonal.std(), "0.125", within=0.005)

# %% [markdown]
# Mean 0.00, standard deviation 0.125: no word is like any other.
#
# ## Words in the same company
#
# Vectors that know more can be had without a model. Words that stand beside the same words are
# used alike: `red` and `blue` both stand beside `color`, `flowers`, `dark`. So we count, for each
# pair of words, how often they stand at most four places apart: their **co-occurrence**.

# %% count
import re
from collections import Counter

import numpy as np

from plainformer.corpora import fetch

definitions = (fetch("gcide") / "train.txt").read_text(encoding="utf-8").split("\n")[:40_000]
texts = [re.findall("[a-z]+", text.lower()) for text in definitions]
frequent = Counter(word for text in texts for word in text).most_common(2500)
words = [word for word, _ in frequent]
number_of = {word: number for number, word in enumerate(words)}
rare, gap = len(words), [""] * 4  # a gap, so that no pair spans two definitions
numbers = np.array([number_of.get(word, rare) for text in texts for word in text + gap])

counts = np.zeros((rare + 1, rare + 1))
for distance in range(1, 5):
    np.add.at(counts, (numbers[distance:], numbers[:-distance]), 1)
counts = (counts + counts.T)[:rare, :rare]
for word in ("red", "blue"):
    print(word, [words[n] for n in counts[number_of[word]].argsort()[::-1][:10]])

# %% [markdown]
# The counts are ruled by words that stand beside everything. What matters is how much *more often*
# two words meet than chance would have it. That is their **pointwise mutual information**:
#
# $$\mathrm{PMI}(w, c) = \log \frac{p(w, c)}{p(w)\,p(c)}$$
#
# Negative values say little, since rare pairs are often missed by accident. They are set to 0.

# %% pmi
together = counts / counts.sum()
alone = together.sum(axis=1)
with np.errstate(divide="ignore"):
    pmi = np.maximum(np.log(together / np.outer(alone, alone)), 0)
for word in ("red", "blue"):
    print(word, [words[n] for n in pmi[number_of[word]].argsort()[::-1][:10]])

# %% [markdown]
# Each word now has 2,500 numbers. We want 64. The **singular value decomposition** gives each word
# two short vectors, one as a word and one as a neighbour, such that the dot product of a word with
# a neighbour is as close to their PMI as 64 numbers allow: it writes the table as a sum of simple
# ones, ordered by what they contribute, and we keep the first 64. The first of the two is our
# vector of the word.

# %% svd
u, s, _ = torch.svd_lowrank(torch.tensor(pmi, dtype=torch.float32), q=64, niter=4)
vectors = u * s.sqrt()
print(vectors.shape)

# %% [markdown]
# GloVe and word2vec, the best-known word vectors, were learned in other ways and from far more
# text, but they, too, rest on which words stand near each other. Their files hold a word and its
# numbers on each line. We write ours in the same format.

# %% write
from pathlib import Path

path = Path("runs/walkthrough/02_vectors/vectors.txt")
path.parent.mkdir(parents=True, exist_ok=True)
with path.open("w", encoding="utf-8") as file:
    for word, vector in zip(words, vectors.tolist(), strict=True):
        print(word, *(f"{value:.5f}" for value in vector), file=file)
print(path.read_text(encoding="utf-8")[:60])

# %% [markdown]
# ## Into an encoder
#
# Here is an [encoder](05_encoder.py) of this project with random weights. It computes with vectors
# of 128 numbers; its table has only 64 (`embedding_size`), and a matrix leads from the one to the
# other. How it computes is shown in the next chapters. Here we need its table. A file downloaded
# from the authors of GloVe is loaded in the same way.

# %% load
from plainformer.encoder import Encoder, EncoderConfig, load_word_vectors
from plainformer.tokenizer import train_tokenizer

tokenizer = train_tokenizer(definitions[:10_000], vocab_size=4000)
encoder = Encoder(EncoderConfig.preset("bert-tiny", vocab_size=4000, embedding_size=64))
tokens = encoder.embeddings.tokens


def nearest(word: str, count: int = 6) -> list[str]:
    """Return the tokens whose rows have the largest cosine with that of `word`."""
    row = tokens.weight[tokenizer.id(word)]
    order = torch.cosine_similarity(tokens.weight, row[None]).argsort(descending=True)
    return [tokenizer.token(id) for id in order[1 : count + 1].tolist()]


random_rows = tokens.weight.detach().clone()
print("random:", nearest("red"))
found = load_word_vectors(tokens, path, tokenizer.whole_word_id)
for word in ("red", "iron", "river", "woman", "three"):
    print(f"{word}:", nearest(word))
assert "blue" in nearest("red", 10) and "copper" in nearest("iron", 10)

# %% [markdown]
# A file has words and the table has tokens, so only words that are one token get a vector. The
# other rows, of pieces and rare words, stay random.

# %% found
claim(100 * len(found) / len(words), "66 %", within=3)
claim(100 * len(found) / tokens.num_embeddings, "41 %", within=2)

# %% [markdown]
# 66 % of the words in the file have a token, and they fill 41 % of the table. Sixteen of them,
# before and after:

# %% groups
from guide import panels, show

groups = [
    *("red", "blue", "green", "yellow", "iron", "copper", "silver", "gold"),
    *("river", "sea", "water", "stream", "two", "three", "four", "five"),
]
rows = [tokenizer.id(word) for word in groups]
figure, (left, right) = panels(2, 4, 3.8)
for axes, weights, title in ((left, random_rows, "random"), (right, tokens.weight, "loaded")):
    image = axes.imshow(cosines(weights[rows].detach()), cmap="viridis", vmin=0, vmax=1)
    axes.set_xticks(range(len(groups)), groups, rotation=90)
    axes.set_yticks(range(len(groups)), groups)
    axes.set_title(title)
    axes.grid(False)
figure.colorbar(image, ax=[left, right], label="cosine", shrink=0.8)
show(
    figure, "Random rows are unlike each other; loaded ones form squares: colours, metals, waters."
)

# %% [markdown]
# One thing is easily forgotten: loaded numbers have another size than the model's own. These are 9
# times as large as the vectors of positions which will be added to them (below), and those would
# hardly count. So we divide.

# %% scale
is_found = torch.tensor(list(found.values()))
ratio = tokens.weight[is_found].std() / encoder.embeddings.positions.weight.std()
claim(ratio, "9", within=1)
with torch.no_grad():
    tokens.weight[is_found] /= ratio

# %% [markdown]
# ## Order is lost
#
# A sum of vectors has no order. To the table these are the same:

# %% order
dog = tokenizer.tokens("the dog bites the man").ids
man = tokenizer.tokens("the man bites the dog").ids
assert dog != man
assert_close(tokens(torch.tensor(dog)).sum(0), tokens(torch.tensor(man)).sum(0))

# %% [markdown]
# You might hope that the encoder brings order in later. It does not. Its central step,
# [attention](03_attention.py), is a kind of weighted sum as well. The places of the tokens have to
# be told: a **position encoding**.
#
# ## Sines and cosines
#
# The first Transformer *added* a fixed vector for position $p$, made of waves of different length:
#
# $$\mathrm{PE}[p, 2i] = \sin\!\left(\frac{p}{10000^{2i/d}}\right), \quad
#   \mathrm{PE}[p, 2i+1] = \cos\!\left(\frac{p}{10000^{2i/d}}\right)$$

# %% sinusoids
from plainformer.encoder import SinusoidalPositions

d = 64
p, i = torch.arange(128.0)[:, None], torch.arange(d // 2)
angles = p / 10_000 ** (2 * i / d)
formula = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
sinusoidal = SinusoidalPositions(128, d)
assert_close(sinusoidal(torch.arange(128)), formula, atol=1e-4, rtol=0)

# %% [markdown]
# Like the hands of a clock, each pair of numbers turns at its own speed. The fast ones tell
# neighbours apart, the slow ones tell the beginning of a text from its end.

# %% waves
from guide import panel

figure, axes = panel(5.5, 3.2)
image = axes.imshow(formula.T, cmap="cividis", aspect="auto")
axes.set(xlabel="position", ylabel="number of the vector")
axes.grid(False)
figure.colorbar(image, label="value")
show(figure, "Stripes: fast waves in the first rows, ever slower ones below.")

# %% [markdown]
# It has a useful property: how alike two positions are depends on their *distance* alone. Because
# $\sin a \sin b + \cos a \cos b = \cos(a - b)$,
#
# $$\mathrm{PE}[p] \cdot \mathrm{PE}[q] = \sum_i \cos\!\left(\frac{p - q}{10000^{2i/d}}\right)$$

# %% distance-alone
dots = formula @ formula.T
for distance in (0, 1, 10, 100):
    along = dots.diagonal(distance)  # all pairs that are this far apart
    expected = torch.cos(distance / 10_000 ** (2 * i / d)).sum()
    assert_close(along, expected.expand_as(along), atol=1e-3, rtol=0)

# %% [markdown]
# Token and position are added, number by number. The project's embeddings do just that:

# %% add
from plainformer.encoder import Embeddings, Sequences

ids = torch.tensor([5, 8, 5])
embeddings = Embeddings(table, sinusoidal)
x = embeddings(ids, None, Sequences.of([3]))  # one sequence of three tokens
assert_close(x, table.weight[ids] + formula[:3], atol=1e-4, rtol=0)
assert not torch.allclose(x[0], x[2])  # the same token in two places

# %% [markdown]
# ## Learned: a table with an end
#
# BERT has no formula. It has a second table with a row for each position, and learns it like the
# first. Here is the cosine of each position with each other one, in our random encoder and in
# MiniLM, a small trained model.

# %% learned
minilm = Encoder.from_pretrained(fetch("minilm"))
trained = minilm.embeddings.positions.weight.detach()
untrained = encoder.embeddings.positions.weight.detach()
figure, (left, right) = panels(2, 3.8, 3.2)
for axes, weights, title in ((left, untrained, "random"), (right, trained, "trained (MiniLM)")):
    image = axes.imshow(cosines(weights[:128]), cmap="viridis", vmin=0, vmax=1)
    axes.set(title=title, xlabel="position", ylabel="position")
    axes.grid(False)
figure.colorbar(image, ax=[left, right], label="cosine", shrink=0.8)
show(
    figure,
    "Random: only the diagonal is bright. Trained: a bright band with paler stripes beside it.",
)

# %% [markdown]
# Nobody told the model that position 7 is next to position 8. It found out from text.

# %% learned-figures
similar = cosines(trained[1:])
claim(similar.diagonal(1).mean(), "0.85", within=0.02)
claim(similar.diagonal(32).mean(), "0.22", within=0.02)
claim(cosines(untrained).diagonal(1).mean(), "0.00", within=0.03)

# %% [markdown]
# The mean cosine of neighbours is 0.85, of positions 32 apart 0.22; before training it is 0.00.
# (The first position, always `[CLS]`, is left out.) The paler stripes show that the likeness rises
# and falls with the distance, as it does with sines.
#
# The table has 512 rows, and so it has an end. A longer text cannot be read at all:

# %% the-end
from plainformer.base import UserError

try:
    encoder(torch.full((1, 513), 7))
except UserError as error:
    print(error)
else:
    raise AssertionError("513 tokens fit")

# %% [markdown]
# ## RoPE: turn instead of add
#
# In the [next chapter](03_attention.py), tokens are compared by the dot product of two vectors, a
# *query* $q$ and a *key* $k$. **Rotary positions** (RoPE) add nothing. Before the comparison they
# take the numbers of a vector in pairs (here number $i$ and number $i + d/2$), as points in a
# plane, and turn each point by an angle that grows with the position. Pair $i$ at position $p$
# turns by
#
# $$\theta_{p,i} = p \cdot 10000^{-2i/d}$$


# %% rope
from plainformer.encoder import rotary_angles
from plainformer.encoder.ops import plain


def turn(x: torch.Tensor, position: int) -> torch.Tensor:
    """Turn the points (x[i], x[i + d/2]) of a vector."""
    half = len(x) // 2
    theta = position * 10_000 ** (-2 * torch.arange(half) / len(x))
    first, second = x[:half], x[half:]
    return torch.cat(
        [
            first * theta.cos() - second * theta.sin(),
            first * theta.sin() + second * theta.cos(),
        ]
    )


q, k = torch.randn(2, 64)
cos, sin = rotary_angles(torch.tensor([7]), head_size=64)
assert_close(turn(q, 7), plain.rotate(q[None], cos, sin)[0], atol=1e-5, rtol=0)

# %% [markdown]
# Three of the 32 pairs, at nine positions:

# %% clocks
from guide import BLUE, ORANGE, PALE_BLUE

figure, clocks = panels(3, 2.3, 2.5)
for axes, pair in zip(clocks, (0, 3, 6), strict=True):
    point = torch.zeros(64)
    point[pair] = 1  # the point (1, 0) of this pair
    for position in range(9):
        turned = turn(point, position)
        colour = ORANGE if position == 0 else BLUE
        axes.plot([0, turned[pair]], [0, turned[pair + 32]], color=PALE_BLUE)
        axes.text(
            *(1.12 * turned[[pair, pair + 32]]).tolist(), str(position), color=colour, ha="center"
        )
    axes.set(title=f"pair {pair}", xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal")
    axes.axis("off")
show(
    figure,
    "Hands of three clocks at positions 0 to 8: the first goes round, the last moves slowly.",
)

# %% [markdown]
# Turning both vectors by the same angle changes nothing between them. So the dot product depends on
# the distance alone, wherever the two stand:

# %% rope-distance
near = turn(q, 3) @ turn(k, 8)
for shift in (1, 10, 500):
    assert_close(turn(q, 3 + shift) @ turn(k, 8 + shift), near, atol=1e-2, rtol=0)
assert not torch.allclose(turn(q, 3) @ turn(k, 9), near, atol=1e-2)

# %% [markdown]
# There is no table, and so there is no end. (A model still has to be trained on long texts to read
# them *well*.)
#
# ## ALiBi: the further, the less
#
# The shortest idea of all: leave the vectors alone, and *subtract* from each comparison a number
# that grows with the distance. Each of the $n$
# [heads](03_attention.py#many-heads) (comparisons that run side by side) has its own slope:
#
# $$b_h(p, q) = -\,2^{-8h/n}\,|p - q|, \quad h = 1 \dots n$$

# %% alibi
from plainformer.encoder import AlibiBias

heads, length = 8, 40
distance = torch.arange(1 - length, length)
slopes = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
assert_close(AlibiBias(heads)(length), -slopes[:, None] * distance.abs())

# %% [markdown]
# With a steep slope only neighbours count, with a gentle one distant tokens do, too.
#
# ## What each can see
#
# Side by side: how strongly a token is drawn to another one at each distance, if the words
# themselves say nothing.

# %% side-by-side
far = torch.arange(0, 128)
waves = torch.cos(far[:, None] / 10_000 ** (2 * i / d)).mean(1)
learned = [cosines(trained[1:]).diagonal(k).mean() for k in far.tolist()]
same = torch.ones(64)
turned = [(turn(same, k) @ same) / 64 for k in far.tolist()]
figure, places = panels(4, 3.2, 2.4, columns=2)
curves = {"sinusoidal": waves, "learned (MiniLM)": learned, "RoPE": turned}
for axes, (name, curve) in zip(places, curves.items(), strict=False):
    axes.plot(far, curve, color=BLUE)
    axes.set(title=name, ylabel="cosine", ylim=(-0.2, 1.05))
for row, style in ((0, "-"), (3, "--"), (5, ":")):
    bias = AlibiBias(heads)(128)[row, 127:]
    places[3].plot(far, bias, style, color=ORANGE, label=f"head {row + 1}")
places[3].set(title="ALiBi", ylabel="added", ylim=(-20, 1))
places[3].legend(frameon=False, fontsize=8)
for axes in places:
    axes.set_xlabel("distance")
show(figure, "All four favour near tokens; the first three in waves, ALiBi in straight lines.")
assert_close(torch.stack(turned), waves, atol=1e-4, rtol=0)

# %% [markdown]
# RoPE's curve for equal vectors *is* the curve of the sines. One adds the waves to the vectors, the
# other puts them into the comparison.
#
# Now the encoder is asked, once with each kind. Does it notice when a text is reversed? Can it tell
# equal words apart by their place? Does it read a text longer than its 64 positions?


# %% ask
def answers(kind: str, ends: bool = False) -> list[bool]:
    def read(text: torch.Tensor) -> torch.Tensor:
        if not ends:
            return encoder(text).last_hidden_state[0]
        text = torch.cat([torch.tensor([[2]]), text, torch.tensor([[3]])], dim=1)  # [CLS] … [SEP]
        return encoder(text).last_hidden_state[0, 1:-1]

    torch.manual_seed(0)
    config = EncoderConfig.preset(
        "bert-tiny", vocab_size=100, positions=kind, max_position_embeddings=64
    )
    encoder = Encoder(config).eval()
    for weight in encoder.parameters():
        weight.data.mul_(10 if weight.ndim == 2 else 1)  # stronger reactions, easier to see
    text = torch.randint(5, 100, (1, 12))
    forward, backward = read(text), read(text.flip(1)).flip(0)
    equal = read(torch.full((1, 12), 7))
    try:
        encoder(torch.randint(5, 100, (1, 65)))
        reads_on = True
    except UserError:
        reads_on = False
    different = [(forward - backward).abs().max() > 0.01, (equal - equal[0]).abs().max() > 0.01]
    return [*map(bool, different), reads_on]


with torch.no_grad():
    seen = {kind: answers(kind) for kind in ("learned", "sinusoidal", "rotary", "alibi")}
for kind, (order, place, reads_on) in seen.items():
    print(f"{kind:10}  order: {order!s:5}  place: {place!s:5}  beyond the end: {reads_on}")
assert seen["learned"] == seen["sinusoidal"] == [True, True, False]
assert seen["rotary"] == [True, False, True]
assert seen["alibi"] == [False, False, True]

# %% [markdown]
# Two results surprise. Rotary positions do not see *places*: twelve times the same word gives
# twelve times the same vector, since only distances count, and only in comparisons. ALiBi does not
# see them either, nor does it see *direction*. It was made for models that read from left to right;
# an encoder looks both ways, and a bias that is equal on both sides cannot tell before from behind.
# To our encoder with ALiBi "dog bites man" is the same as "man bites dog".
#
# Real texts have a `[CLS]` in front and a `[SEP]` at the end, and these help: a token can find out
# how far away they are. With them, both encoders see order and place.

# %% ends
with torch.no_grad():
    for kind in ("rotary", "alibi"):
        assert answers(kind, ends=True)[:2] == [True, True]

# %% [markdown]
# BERT has learned positions, ModernBERT rotary ones. In this project it is one word of the
# configuration: `EncoderConfig.preset("bert-tiny", positions="rotary")`.
#
# ## Exercises
#
# **1. Read such a file.** Read a file of word vectors into a dictionary. A file of word2vec has a
# first line with two numbers, how many words there are and how long a vector is; skip it.


# %% exercise-1
def read_vectors(path: Path) -> dict[str, torch.Tensor]:
    """Read word vectors in the format of GloVe or word2vec."""
    raise NotImplementedError


# %% check-1
from guide import check


@check
def exercise_1() -> None:
    read = read_vectors(path)
    assert list(read) == words
    assert_close(torch.stack(list(read.values())), vectors, atol=1e-5, rtol=0)
    other = path.with_name("word2vec.txt")
    other.write_text("2 3\nrain 1 2 3\nsnow 0.5 -1 1e-2\n", encoding="utf-8")
    read = read_vectors(other)
    assert list(read) == ["rain", "snow"], list(read)
    assert_close(read["snow"], torch.tensor([0.5, -1, 0.01]))


# %% [markdown]
# <details><summary>Hint</summary>Split each line at spaces. The first line of word2vec is the only
# one with two columns.</details>


# %% solution-1
def read_vectors(path: Path) -> dict[str, torch.Tensor]:
    """Read word vectors in the format of GloVe or word2vec."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        word: torch.tensor(list(map(float, numbers)))
        for word, *numbers in lines
        if len(numbers) > 1
    }


# %% [markdown]
# **2. One product.** A point in the plane is a complex number, and to turn it by $\theta$ is to
# multiply it by $e^{i\theta} = \cos\theta + i\sin\theta$. Write `turn` with complex numbers.


# %% exercise-2
def turn_complex(x: torch.Tensor, position: int) -> torch.Tensor:
    """Turn the points (x[i], x[i + d/2]) of a vector by one complex product."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    for position in (0, 1, 7, 300):
        cos, sin = rotary_angles(torch.tensor([position]), head_size=64)
        expected = plain.rotate(q[None], cos, sin)[0]
        assert_close(turn_complex(q, position), expected, atol=1e-3, rtol=0)
    assert turn_complex(torch.randn(10), 3).shape == (10,)


# %% [markdown]
# <details><summary>Hint</summary>`torch.complex(first, second)` makes the points,
# `torch.polar(ones, theta)` makes $e^{i\theta}$. Put `.real` and `.imag` of the product behind
# each other.</details>


# %% solution-2
def turn_complex(x: torch.Tensor, position: int) -> torch.Tensor:
    """Turn the points (x[i], x[i + d/2]) of a vector by one complex product."""
    half = len(x) // 2
    theta = position * 10_000 ** (-2 * torch.arange(half) / len(x))
    turned = torch.complex(x[:half], x[half:]) * torch.polar(torch.ones(half), theta)
    return torch.cat([turned.real, turned.imag])


# %% [markdown]
# **3. A step is a matrix.** Find the matrix $M_k$ that leads from each sinusoidal position to the
# one $k$ places further on, $\mathrm{PE}[p + k] = M_k\,\mathrm{PE}[p]$, the same for all $p$. That
# there is one is why the sines were chosen.


# %% exercise-3
def step(k: int, d: int) -> torch.Tensor:
    """Return the matrix that moves sinusoidal positions by k places."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    for k, d in ((1, 64), (5, 64), (-3, 16)):
        positions = SinusoidalPositions(100, d).weight
        moved = positions @ step(k, d).T
        here, there = (moved[:-k], positions[k:]) if k > 0 else (moved[-k:], positions[:k])
        assert_close(here, there, atol=1e-3, rtol=0)
    assert_close(step(2, 8) @ step(3, 8), step(5, 8), atol=1e-4, rtol=0)


# %% [markdown]
# <details><summary>Hint</summary>$\sin(a + b) = \sin a \cos b + \cos a \sin b$, and $\cos(a + b) =
# \cos a \cos b - \sin a \sin b$. Each pair $(2i, 2i + 1)$ needs a matrix of two by two; all else is
# 0. </details>


# %% solution-3
def step(k: int, d: int) -> torch.Tensor:
    """Return the matrix that moves sinusoidal positions by k places."""
    blocks = []
    for i in range(d // 2):
        angle = torch.tensor(k / 10_000 ** (2 * i / d))
        cos, sin = angle.cos(), angle.sin()
        blocks.append(torch.tensor([[cos, sin], [-sin, cos]]))
    return torch.block_diag(*blocks)
