# %% [markdown]
# # Attention by hand
#
# The vector of a word from [the last chapter](02_vectors.py) is the same in every text. Attention
# changes that: it mixes into each vector those of the other words. It is the heart of the
# Transformer, and it is short: two matrix products with a softmax between them. You will write it
# in NumPy, find the same numbers in the library, and see what a real model looks at.

# %% imports
import time

import numpy as np
import torch
from guide import BLUE, ORANGE, check, claim, panel, panels, show, show_frames

from plainformer.corpora import fetch
from plainformer.encoder import AttentionMask, Encoder, MultiHeadAttention, PaddedSequences
from plainformer.encoder import Packing, Sequences, rotary_angles, use_backend
from plainformer.encoder.ops import plain
from plainformer.tokenizer import load_tokenizer

torch.manual_seed(0)
torch.set_grad_enabled(False)  # this chapter trains nothing
folder = fetch("minilm")
model, tokenizer = Encoder.from_pretrained(folder).eval(), load_tokenizer(folder)

# %% [markdown]
# MiniLM is a small published model. It turns sentences into vectors, which
# [a later chapter](11_sentences.py) uses; here we open it.
#
# ## The same word, two meanings
#
# Two phrases contain *bank*. Its vector is the same in both: a row of the table of embeddings.

# %% bank
table = model.embeddings.tokens.weight.numpy()
river = table[tokenizer.tokens("the bank of the river").ids]  # (5 tokens, 384)
money = table[tokenizer.tokens("the money in the bank").ids]
assert np.array_equal(river[1], money[4])  # "bank" is token 1 of one, token 4 of the other


# %% [markdown]
# To tell them apart, replace each vector by a **weighted mean** of all vectors of its phrase. The
# weights say how much one word matters to another. They are positive and add up to 1. A natural
# choice: the dot product of two vectors, a *score*, is large where they are alike. The **softmax**
# makes weights of scores: $\text{softmax}(s)_j = e^{s_j} / \sum_k e^{s_k}$.


# %% softmax
def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))  # the largest is 1: no overflow
    return powers / powers.sum(-1, keepdims=True)


scores = np.array([1.0, 2.0, 3.0])
print(softmax(scores))
torch.testing.assert_close(torch.tensor(softmax(scores)), torch.tensor(scores).softmax(-1))

# %% [markdown]
# Now the means. The cosine of two vectors is 1 where they point in the same direction, as the two
# *bank* did. After one mixing it is 0.94: one of them has moved towards *river*, the other towards
# *money*.


# %% two-banks
def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


mixed_river = softmax(river @ river.T) @ river
mixed_money = softmax(money @ money.T) @ money
claim(cosine(mixed_river[1], mixed_money[4]), "0.94", within=0.01)

# %% [markdown]
# ## One head
#
# Likeness is a poor reason to look: an adjective looks for its noun, which is a different word. So
# attention first makes three vectors of each, by three matrices (and biases) that are learned:
#
# - the **query**, what a token looks for;
# - the **key**, what it can be found by;
# - the **value**, what it passes on.
#
# A score is the dot product of a query and a key, and the mean is over the values. With the vectors
# as rows of matrices, and $d$ entries in a query:
#
# $$\text{Attention}(Q, K, V) = \text{softmax}\left(\frac{Q K^T}{\sqrt{d}}\right) V$$
#
# That is one **head**. Here are three tokens of two entries each, small enough to follow.


# %% one-head
def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the attended vectors and the attention weights."""
    weights = softmax(query @ key.T / query.shape[-1] ** 0.5)  # (queries, keys)
    return weights @ value, weights


query = np.array([[4.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
key = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
value = np.array([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
y, weights = attend(query, key, value)
print(weights.round(2), y.round(1), sep="\n\n")
assert np.allclose(weights.sum(-1), 1)
assert np.allclose(y[2], value.mean(0))

# %% [markdown]
# Read the rows. Token 0 asks along the first axis and finds key 0. Token 1 asks along the second
# axis: key 2 has the largest score, and key 1 a smaller one. The query of token 2 is zero, so all
# scores are equal and it gets the plain mean.
#
# ## Why divide by √d?
#
# The dot product of two random vectors is a sum of $d$ terms, so its usual size grows with
# $\sqrt{d}$. Softmax turns large scores into weights near 0 and 1, and then a head looks at one
# token only and can hardly learn to look elsewhere. Divided by $\sqrt{d}$, their usual size is 1
# for every $d$.

# %% scale
generator = np.random.default_rng(0)
largest = {}
for d in (4, 64, 1024):
    q, keys = generator.standard_normal((1000, d)), generator.standard_normal((1000, 16, d))
    s = np.einsum("nd,nkd->nk", q, keys)  # 1000 queries with 16 keys each
    largest[d] = softmax(s).max(-1).mean(), softmax(s / d**0.5).max(-1).mean()
    print(f"d = {d:4}: scores ± {s.std():.1f}, largest weight {largest[d][0]:.2f}", end=", ")
    print(f"divided by √d: {largest[d][1]:.2f}")
claim(largest[1024][0], "0.96", within=0.03)
claim(largest[1024][1], "0.25", within=0.03)
assert abs(largest[4][1] - largest[1024][1]) < 0.05

# %% [markdown]
# With 16 keys of 1,024 entries, the largest weight is 0.96 on average. With the division it is
# 0.25, and about the same for small $d$.
#
# ## The same in the library
#
# `plainformer.encoder.ops.plain` has every operation as its formula. Its attention takes all heads
# at once, `(tokens, heads, head size)`, and an `AttentionMask`, which says who sees whom: here five
# tokens, which all see each other.

# %% plain-form
q, k, v = torch.randn(3, 5, 1, 16)  # 5 tokens, 1 head of 16 entries
mask = AttentionMask(Sequences.of([5]))
theirs, their_weights = plain.attention_with_weights(q, k, v, mask)
ours, our_weights = attend(q[:, 0].numpy(), k[:, 0].numpy(), v[:, 0].numpy())
torch.testing.assert_close(theirs[:, 0], torch.tensor(ours))
torch.testing.assert_close(their_weights[0, 0], torch.tensor(our_weights))

# %% [markdown]
# ## Many heads
#
# One head makes one mean. A model needs several at once: the word before, the subject of the
# sentence, the word that *it* stands for. So there are several heads. Each has three matrices of
# its own, which read the whole vector and make short queries, keys and values of it: with $n$
# heads, an $n$-th of the width. A fourth matrix, the output, mixes what they found:
#
# $$\text{concat}(\text{head}_1, \dots, \text{head}_n) W_O + b_O$$
#
# `MultiHeadAttention` needs a width and a number of heads. Its output has the shape of its input.

# %% many-heads
attention = MultiHeadAttention(hidden_size=64, num_heads=4).eval()
x = torch.randn(5, 64)
y, weights = attention(x, mask, output_attentions=True)
print(tuple(y.shape), tuple(weights.shape))  # weights: (sequences, heads, queries, keys)
assert y.shape == x.shape
assert weights.shape == (1, 4, 5, 5)

# %% [markdown]
# By hand: the matrices of all heads are stacked in one, so that one product computes them all. Cut
# out those of each head, attend, put the heads side by side, and multiply.

# %% heads-by-hand
rows = {part: attention.qkv.rows_of(part) for part in ("query", "key", "value")}
weight, bias = attention.qkv.weight.numpy(), attention.qkv.bias.numpy()
whole = {part: x.numpy() @ weight[r].T + bias[r] for part, r in rows.items()}  # (5, 64) each
heads = []
for i in range(4):
    part = slice(16 * i, 16 * i + 16)  # the entries of head i
    heads.append(attend(whole["query"][:, part], whole["key"][:, part], whole["value"][:, part])[0])
output, output_bias = attention.output.weight.numpy(), attention.output.bias.numpy()
by_hand = np.concatenate(heads, axis=-1) @ output.T + output_bias
torch.testing.assert_close(torch.tensor(by_hand), y)

# %% [markdown]
# PyTorch has such a module, too. With the same numbers in its matrices it gives the same vectors
# and the same weights.

# %% torch-module
module = torch.nn.MultiheadAttention(64, 4, batch_first=True)
module.in_proj_weight.copy_(attention.qkv.weight)
module.in_proj_bias.copy_(attention.qkv.bias)
module.out_proj.load_state_dict(attention.output.state_dict())
expected, expected_weights = module(x[None], x[None], x[None], average_attn_weights=False)
torch.testing.assert_close(y, expected[0])
torch.testing.assert_close(weights, expected_weights)

# %% [markdown]
# ## What heads look at
#
# MiniLM has 12 heads, and computes attention six times in a row: six **layers**, each on the
# output of the one before. We ask for its weights on one sentence. `[CLS]` and `[SEP]` are added by
# the tokenizer: they mark the two ends of a text.


# %% weights-of-a-model
def attentions(text: str) -> tuple[list[str], torch.Tensor]:
    """Return the tokens of a text, and the weights `(layers, heads, queries, keys)`."""
    batch = tokenizer.batch([text])
    output = model(**batch, output_attentions=True)
    names = [tokenizer.token(i) for i in batch["input_ids"][0].tolist()]
    return names, torch.cat(output.attentions)


names, found = attentions("The animal did not cross the street because it was too tired.")
print(names, tuple(found.shape))

# %% heat-map
figure, all_axes = panels(4, 4.2, 4.0, columns=2)
chosen = {"the token before": (1, 3), "the token after": (2, 9), "'it' is the animal": (4, 2)}
chosen["[CLS], a resting place"] = (5, 6)
for axes, (title, (layer, head)) in zip(all_axes, chosen.items(), strict=True):
    axes.imshow(found[layer - 1, head - 1], cmap="cividis", vmin=0, vmax=1)
    axes.set_title(f"layer {layer}, head {head}: {title}", fontsize=10)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
show(
    figure,
    "Weights of four heads, queries as rows, keys as columns, bright is much. Head 3 of layer 1 "
    "is a line below the diagonal, head 9 of layer 2 is mostly a line above it, head 2 of layer 4 "
    "is bright where row 'it' meets column 'animal', head 6 of layer 5 is a bright column: [CLS].",
)

# %% [markdown]
# Nobody told these heads what to do: training found it useful. One looks at the token before, in
# every row but the first. Another prefers the token after. A third joins *it* to *animal*, with a
# weight of 0.69. The last one rests on `[CLS]`, with 0.90 of its weight. The usual explanation:
# weights add up to 1, so a head that finds nothing in a text must still put them somewhere.

# %% four-heads
before = found[0, 2].diagonal(-1).mean()
it, animal, street = names.index("it"), names.index("animal"), names.index("street")
assert before > 0.99
claim(found[3, 1, it, animal].item(), "0.69", within=0.02)
claim(found[4, 5, :, 0].mean().item(), "0.90", within=0.02)

# %% [markdown]
# Does that head *understand* what *it* is? Change one word, *tired* to *wide*: now *it* is the
# street. The weight on *animal* falls to 0.32, but the street gets less still. So be careful: a
# weight says where a head has looked, not why, and not what the model concludes.

# %% too-wide
wide = attentions("The animal did not cross the street because it was too wide.")[1][3, 1, it]
claim(wide[animal].item(), "0.32", within=0.02)
assert wide[street] < wide[animal] < 0.5 * found[3, 1, it, animal]

# %% [markdown]
# Step through the layers to see where *it* looks, head by head.

# %% layers
figures = []
for layer in range(6):
    figure, axes = panel(6.2, 4.2)
    axes.imshow(found[layer, :, it], cmap="cividis", vmin=0, vmax=0.7, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(12), range(1, 13))
    axes.set(ylabel="head", title=f"what 'it' looks at, layer {layer + 1}")
    axes.grid(False)
    figures.append(figure)
show_frames(
    figures,
    [f"layer {layer}" for layer in range(1, 7)],
    "Weights of the token 'it' on all tokens, a row for each of 12 heads. In layer 1 they are "
    "spread, in layers 2 to 5 [CLS] has the largest weight in most heads, in layer 6 the weights "
    "spread again, and one head, the twelfth, looks at 'animal'.",
)
rest = found[..., 0].mean((1, 2))  # the weight on [CLS], by layer
assert rest[1:5].min() > 0.4 > rest[[0, 5]].max()

# %% [markdown]
# On [the live page](site/live/page.md) you see all heads of a small model change while you type.
#
# ## Attention does not see order
#
# Nothing in the formula knows where a token stands. Shuffle the tokens, and the same outputs come
# out, shuffled. Positions have to bring the order in, as [the last chapter](02_vectors.py) shows:
# rotary angles, for one, turn queries and keys, and then a shuffled text is another text.

# %% order
shuffled = torch.tensor([3, 0, 4, 1, 2])
torch.testing.assert_close(attention(x[shuffled], mask)[0], y[shuffled])
angles = rotary_angles(torch.arange(5), head_size=16)
turned = attention(x, mask, angles)[0]
assert not torch.allclose(attention(x[shuffled], mask, angles)[0], turned[shuffled], atol=0.01)

# %% [markdown]
# ## Masks: who may see whom
#
# Sometimes a token must not see all others. An **attention mask** says which keys a query sees;
# the scores of the others become $-\infty$, and their weights 0. Two masks matter. **Causal**: no
# token sees those that come after it, so a text can be written word by word. **Sliding window**: a
# token sees its neighbours only.

# %% masks
text, causal = Sequences.of([16]), Sequences.of([16], causal=True)
masks = {"all see all": AttentionMask(text), "causal": AttentionMask(causal)}
masks["window of 3 on each side"] = AttentionMask(text, window=3)
figure, all_axes = panels(3, 2.9, 3.2)
for axes, (title, each) in zip(all_axes, masks.items(), strict=True):
    axes.imshow(each.visible[0, 0], cmap="cividis", vmin=0, vmax=1)
    axes.set(
        title=title, xlabel="key", ylabel="query", xticks=[0, 5, 10, 15], yticks=[0, 5, 10, 15]
    )
    axes.grid(False)
show(
    figure,
    "Visible keys (bright) of each query, for 16 tokens: a full square; a triangle at and below "
    "the diagonal, for causal attention; a band around the diagonal, for a sliding window of 3.",
)

# %% [markdown]
# The test of a causal mask: change the last token, and no earlier output moves.

# %% no-peeping
changed = x.clone()
changed[4] = 0
causal = AttentionMask(Sequences.of([5], causal=True))
torch.testing.assert_close(attention(changed, causal)[0][:4], attention(x, causal)[0][:4])
assert not torch.allclose(attention(changed, mask)[0][:4], attention(x, mask)[0][:4], atol=0.01)

# %% [markdown]
# ## What length costs
#
# Each of $n$ tokens has a score with each of $n$ keys. With the width $h$, a score takes $2h$
# operations ($h$ products and as many additions), and its share in the mean $2h$ more: $4 n h$ for
# each token and layer. The matrices cost the same whatever the length. Each of their entries is
# used in one product and one addition: $8 h^2$ for the four of attention, and $16 h^2$ for the
# [feed-forward layer](05_encoder.py) that follows it in each layer of the model, $24 h^2$ together.
# So twice the text costs more than twice as much.

# %% operations
h = model.config.hidden_size
lengths = np.array([128, 256, 512, 1024, 2048, 4096, 8192])
matrices, all_pairs = 24 * h**2, 4 * lengths * h
assert [model.flops_per_token(n) for n in lengths.tolist()] == (6 * (matrices + all_pairs)).tolist()
crossing = matrices / (4 * h)
assert crossing == 6 * h == 2304
near = AttentionMask(Sequences.of([1024]), window=64).visible.sum().item() / 1024
assert 120 < near < 129  # keys that a token sees on average in a window of 64 on each side

# %% [markdown]
# The two are equal at a text of six times the width: 2,304 tokens for MiniLM, whose width is 384.
# For longer texts the pairs cost more than the matrices. A window of 64 tokens on each side keeps
# the cost flat: a token sees at most 129 keys, however long the text is. The time of a whole
# attention layer, measured on the machine that built this page, agrees: 16 times the tokens take
# more than 16 times as long.


# %% cost
def seconds(tokens: int) -> float:
    """Measure one call of attention, as wide as MiniLM's: the fastest of three."""
    wide, x = MultiHeadAttention(384, 12).eval(), torch.randn(tokens, 384)
    mask, times = AttentionMask(Sequences.of([tokens])), []
    for _ in range(3):
        start = time.perf_counter()
        wide(x, mask)
        times.append(time.perf_counter() - start)
    return min(times)


measured = {n: seconds(n) for n in (128, 256, 512, 1024, 2048)}
assert measured[2048] > 16 * measured[128]
figure, (left, right) = panels(2, 4.2, 3.4)
left.loglog(lengths, all_pairs, color=BLUE, label="attention, all pairs")
left.loglog(lengths, np.minimum(4 * h * 129, all_pairs), "--", color=ORANGE, label="in a window")
left.loglog(lengths, np.full(7, matrices), ":", color="black", label="all matrices")
left.set(xlabel="tokens of the text", ylabel="operations per token")
left.legend(fontsize=8)
right.loglog(measured.keys(), [1000 * s for s in measured.values()], "o-", color=BLUE)
right.set(xlabel="tokens of the text", ylabel="measured ms for the text")
for axes, n in ((left, lengths), (right, list(measured))):
    axes.set_xticks(n, n, rotation=45)
    axes.minorticks_off()
show(
    figure,
    "Left: operations per token against length, in logarithms: attention rises and meets the flat "
    "line of the matrices near 2,300 tokens; with a window it stays flat from 129 tokens on. "
    "Right: measured time of an attention layer, which rises faster than the length.",
)

# %% [markdown]
# ## Padding is waste
#
# A model computes many texts at once, a **batch**. A batch is a rectangle, but texts differ in
# length, so the shorter ones are filled up with a meaningless token: **padding**. A mask hides it
# from attention, but all matrices still work on it. How much of a batch is padding? Take batches of
# 32 questions that people asked.

# %% padding
questions = (fetch("trec") / "train.txt").read_text(encoding="utf-8").split("\n")
generator = np.random.default_rng(0)
batches = [tokenizer.batch(list(generator.choice(questions, 32))) for _ in range(20)]
padding = [1 - batch["attention_mask"].float().mean().item() for batch in batches]
claim(100 * np.mean(padding), "43 %", within=3)

# %% [markdown]
# On average 43 % of a batch is padding: nearly half of the work is thrown away. **Packing** avoids
# it. The real tokens of all texts stand in one row, and the boundaries say which belong together;
# no token sees beyond its own text.

# %% packing
is_token = batches[0]["attention_mask"].bool()
packing = Packing.of(is_token)
print(packing.sequences.lengths)
width, count = is_token.shape[1], len(packing.index)
wrapped = torch.full((is_token.numel(),), torch.nan)  # the packed row, cut into lines to be drawn
wrapped[:count] = 1.0 - 0.35 * (packing.sequences.sequence_ids % 2)
padded = torch.where(is_token, 1.0, 0.25)
figure, all_axes = panels(2, 3.9, 3.6)
titles = f"padded: {is_token.numel()} entries", f"packed: {count} tokens"
for axes, picture, title in zip(all_axes, (padded, wrapped.view_as(padded)), titles, strict=True):
    axes.imshow(picture, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    axes.set(title=title, xticks=[], yticks=[])
    axes.grid(False)
show(
    figure,
    "Left: a batch of 32 questions as a rectangle; dark entries are tokens, the pale rest is "
    "padding. Right: the same tokens in one row, cut into lines as wide; they fill half of it.",
)

# %% [markdown]
# The numbers are the same. We give one attention layer the padded batch, and then the packed row.

# %% packed-is-padded
wide = MultiHeadAttention(384, 12).eval()
x = torch.randn(*is_token.shape, 384)  # (32 questions, longest, 384)
padded_output, _ = wide(x, AttentionMask(PaddedSequences(is_token)))
packed_output, _ = wide(packing.pack(x), AttentionMask(packing.sequences))  # (tokens, 384)
torch.testing.assert_close(packed_output, packing.pack(padded_output))

# %% [markdown]
# Plainformer packs every batch before the first layer, and unpacks it after the last. You notice it
# only in the time, which [Fast and small](13_fast_and_small.py) measures. So a whole model agrees
# with itself, too; and so do the formulas and the fast kernels, between which `use_backend`
# chooses.

# %% whole-model
batch = batches[0]
packed = model(**batch).last_hidden_state
ids, types = batch["input_ids"], batch["token_type_ids"]
kept = model(ids, token_type_ids=types, sequences=PaddedSequences(is_token)).last_hidden_state
torch.testing.assert_close(packed[is_token], kept[is_token], rtol=1e-4, atol=1e-4)
with use_backend("plain"):
    formulas = model(**batch).last_hidden_state
torch.testing.assert_close(packed, formulas, rtol=1e-4, atol=1e-4)

# %% [markdown]
# ## Exercises
#
# **1.** Write the mask of causal attention in a window: query $i$ sees key $j$ where
# $i - w \le j \le i$. Return a matrix of booleans, a row for each query.


# %% exercise-1
def causal_window(length: int, window: int) -> np.ndarray:
    """Return which keys each query sees: `(length, length)` booleans."""
    return np.ones((length, length), dtype=bool)


# %% check-1
@check
def exercise_1() -> None:
    for length, window in [(6, 2), (9, 0), (5, 7)]:
        expected = AttentionMask(Sequences.of([length], causal=True), window).visible[0, 0]
        assert np.array_equal(causal_window(length, window), expected.numpy())


# %% [markdown]
# <details><summary>Hint</summary>Make a column of the positions of queries and a row of the
# positions of keys; their difference is a matrix of distances.</details>


# %% solution-1
def causal_window(length: int, window: int) -> np.ndarray:
    """Return which keys each query sees: `(length, length)` booleans."""
    distance = np.arange(length)[:, None] - np.arange(length)  # i − j
    return (distance >= 0) & (distance <= window)


# %% [markdown]
# **2.** Build the first head of the heat map by hand. The tokens have no other vector than that of
# their position, row $i$ of the identity matrix, and it is their key, too. Find the matrix of
# queries with which each token but the first puts more than 99 of 100 parts of its weight on the
# token before it.


# %% exercise-2
def query_matrix(length: int) -> np.ndarray:
    """Return W_Q: the queries are `np.eye(length) @ W_Q`."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    for length in (5, 12):
        positions = np.eye(length)
        _, weights = attend(positions @ query_matrix(length), positions, positions)
        assert weights.diagonal(-1).min() > 0.99


# %% [markdown]
# <details><summary>Hint</summary>Row $i$ of the matrix is the query of token $i$. It should point
# to where key $i-1$ points, and be long: a large score makes a sharp weight. Mind the division by
# $\sqrt{d}$.</details>


# %% solution-2
def query_matrix(length: int) -> np.ndarray:
    """Return W_Q: the queries are `np.eye(length) @ W_Q`."""
    return 10 * length**0.5 * np.eye(length, k=-1)


# %% [markdown]
# **3.** All scores of a long text need much memory. Fast kernels never store them: they read keys
# and values part by part and keep three running things for each query: the largest score so far,
# the sum of the powers, and the sum of the weighted values. Do it for one query. Scores can be
# large: $e^{1000}$ overflows.


# %% exercise-3
def attend_in_parts(query: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Attend with one query, `(d,)`, to parts of keys and values, `(keys, d)` each."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    generator = np.random.default_rng(1)
    for size in (1.0, 100.0):
        query, key, value = size * generator.standard_normal((3, 40, 8))
        parts = list(zip(np.split(key, 8), np.split(value, 8), strict=True))
        expected, _ = attend(query[:1], key, value)
        assert np.allclose(attend_in_parts(query[0], parts), expected[0])
    assert np.allclose(attend_in_parts(query[0], parts[:1]), attend(query[:1], *parts[0])[0])


# %% [markdown]
# <details><summary>Hint</summary>The powers so far are relative to the old largest score $m$. When
# a part brings a larger one, $m'$, multiply both sums by $e^{m - m'}$ before you add the
# part. Begin with $m = -\infty$ and sums of 0.</details>


# %% solution-3
def attend_in_parts(query: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Attend with one query, `(d,)`, to parts of keys and values, `(keys, d)` each."""
    largest, total, output = -np.inf, 0.0, np.zeros_like(query)
    for key, value in parts:
        scores = key @ query / len(query) ** 0.5
        new = max(largest, scores.max())
        powers, shrink = np.exp(scores - new), np.exp(largest - new)
        total, output = total * shrink + powers.sum(), output * shrink + powers @ value
        largest = new
    return output / total
