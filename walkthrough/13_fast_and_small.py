# %% [markdown]
# # Fast and small
#
# Where does the time of an encoder go, and how much of it can be saved? We stop working on padding,
# measure the two limits of your own machine, and see which part of the model runs into which of
# them. Then we take away bytes and whole units, and measure what that costs.

# %% setup
import copy
import time
from collections.abc import Callable
from itertools import cycle

import torch
import torch.nn.functional as F
from guide import BLUE, GREY, ORANGE, check, claim, panel, panels, show
from torch import Tensor, nn

from plainformer.corpora import fetch, read_rows
from plainformer.encoder import (
    AttentionMask,
    Packing,
    PaddedSequences,
    SentenceEncoder,
    SequenceClassifier,
    Sequences,
    prepack_weights,
    quantize_int8,
)
from plainformer.encoder.ops import fused, plain
from plainformer.tokenizer import load_tokenizer

model, tokenizer = SentenceEncoder.from_pretrained("minilm").eval(), load_tokenizer("minilm")
encoder = model.base
questions = (fetch("trec") / "train.txt").read_text(encoding="utf-8").splitlines()
torch.set_num_threads(1)

# %% [markdown]
# The model is MiniLM, six layers and 384 wide, and the texts are the questions of the TREC
# collection. All is measured on one core of the machine that runs this page, so your times are not
# ours: the text says of times only what should hold on any machine, and the cells check it.
#
# How is a time measured? Other programs disturb, and a disturbance only adds. So we count the time
# that the core works for this program, and take the least of several calls.


# %% seconds
@torch.no_grad()
def seconds(run: Callable[[], object], times: int = 20) -> float:
    """Measure one call: the seconds of the core, the least of several calls."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


# %% [markdown]
# ## No work on padding
#
# A batch is a rectangle, and the shorter texts are filled up with
# [padding](03_attention.py#padding). How much of the rectangle is padding? The more texts are in a
# batch, the longer the longest of them is.

# %% padding
lengths = torch.tensor([len(tokenizer.encode(text).ids) for text in questions])
mixed = lengths[torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0))]


def waste(lengths: Tensor, size: int) -> float:
    """Return the percentage of padding in batches of `size` texts, in this order."""
    batches = lengths[: len(lengths) // size * size].view(-1, size)
    return 100 * float(1 - batches.sum() / (batches.amax(1) * size).sum())


sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
in_any_order = [waste(mixed, size) for size in sizes]
by_length = [waste(lengths.sort().values, size) for size in sizes]
claim(in_any_order[sizes.index(8)], "34 %", within=1)
claim(in_any_order[sizes.index(64)], "51 %", within=1)
assert max(by_length) < 5

# %% padding-picture
figure, axes = panel(5.5, 3.2)
axes.plot(sizes, in_any_order, "o-", color=ORANGE, label="as they come")
axes.plot(sizes, by_length, "s--", color=BLUE, label="sorted by length")
axes.set_xscale("log", base=2)
axes.set_xticks(sizes, sizes)
axes.set(xlabel="texts in a batch", ylabel="padding (% of the batch)", ylim=(-2, 70))
axes.legend(frameon=False, loc="upper left")
show(
    figure,
    "Share of padding by the size of the batch: it rises steadily where texts stand as they come, "
    "and stays near zero where they are sorted by length.",
)

# %% [markdown]
# In batches of 8 questions 34 % is padding, in batches of 64 it is 51 %. Whoever has all texts at
# hand sorts them by length, and hardly any is left. A server cannot wait for that: it takes what
# comes. So this library [packs](03_attention.py#packing): the real tokens stand in one row. The
# results are those of the padded batch, and those of each text alone.

# %% packed
texts = questions[:32]
batch = tokenizer.batch(texts)
ids, types, is_token = batch["input_ids"], batch["token_type_ids"], batch["attention_mask"].bool()


def padded() -> Tensor:
    """Encode the padded batch as it is."""
    sequences = PaddedSequences(is_token)
    return encoder(ids, token_type_ids=types, sequences=sequences).last_hidden_state


def packed() -> Tensor:
    """Encode the same batch: it is packed on the way in, and unpacked on the way out."""
    return encoder(**batch).last_hidden_state


close = {"rtol": 1e-3, "atol": 1e-4}
with torch.no_grad():
    output = packed()
    torch.testing.assert_close(output[is_token], padded()[is_token], **close)
    for number in (0, 1):
        alone = encoder(**tokenizer.batch([texts[number]])).last_hidden_state[0]
        torch.testing.assert_close(output[number][is_token[number]], alone, **close)

# %% [markdown]
# Only the time is another.

# %% packed-time
times = {run.__name__: seconds(run, 2) for run in (padded, packed)}
print(f"{is_token.numel()} entries, {int(is_token.sum())} tokens: {is_token.float().mean():.0%}")
for name, time_taken in times.items():
    print(f"{name}: {1000 * time_taken:.0f} ms")
print(f"packed takes {times['packed'] / times['padded']:.0%} of the time")
assert times["packed"] < times["padded"]

# %% [markdown]
# ## One trip instead of many
#
# Written as its formula, [layer norm](04_norms.py) is a row of small steps, and each of them reads
# its input from memory and writes its result there. A **fused kernel** does all steps on a few
# numbers while it holds them: it reads once and writes once. The library has each operation in both
# forms, and its tests compare them.

# %% layer-norm
x, weight, bias = torch.randn(8192, 384), torch.rand(384), torch.rand(384)
mean = x.mean(-1, keepdim=True)  # reads x
centred = x - mean  # reads x, writes
squares = centred.square()  # reads, writes
variance = squares.mean(-1, keepdim=True)  # reads
normed = centred / torch.sqrt(variance + 1e-12)  # reads, writes
scaled = normed * weight  # reads, writes
by_hand = scaled + bias  # reads, writes
torch.testing.assert_close(by_hand, plain.layer_norm(x, weight, bias, 1e-12))
torch.testing.assert_close(by_hand, fused.layer_norm(x, weight, bias, 1e-12))

# %% [markdown]
# Seven times a table of $x$'s size is read, five times one is written: 12 trips to memory in place
# of 2. Attention gains in the same way. As a formula it writes all scores down, a table of tokens
# times tokens for each head; the kernel keeps a part of them at a time.


# %% fused
def compare(name: str, *inputs: object) -> bool:
    """Compare both forms of an operation; return whether the kernel is faster."""
    formula, kernel = getattr(plain, name), getattr(fused, name)
    torch.testing.assert_close(formula(*inputs), kernel(*inputs), rtol=1e-3, atol=1e-5)
    slow, fast = seconds(lambda: formula(*inputs), 3), seconds(lambda: kernel(*inputs), 3)
    print(f"{name:<11}{1000 * slow:7.1f} ms as a formula,{1000 * fast:6.1f} ms as a kernel")
    return fast < slow


heads = [torch.randn(1024, 12, 32) for _ in range(3)]  # queries, keys, values
compare("gelu", torch.randn(2048, 1536))
compare("attention", *heads, AttentionMask(Sequences.of([512, 512])))
assert compare("layer_norm", x, weight, bias, 1e-12)

# %% [markdown]
# The values are the same, and the arithmetic is, too. What has become less is the traffic between
# memory and core. It seems that there are two things to save.
#
# ## Two limits of a machine
#
# A core can do only so many [operations](05_encoder.py#operations) a second, its *peak*. We find it
# with large matrix products: two matrices of $n \times n$ take $2 n^3$ operations. And it can move
# only so many bytes a second, the **memory bandwidth**. We find that by copying: each number is
# read once and written once.


# %% limits
def rate_of_product(n: int) -> float:
    """Measure a product of two n × n matrices, in operations a second."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / seconds(lambda: fused.linear(a, b), 5)


def rate_of_copy(size: int) -> float:
    """Measure a copy between two arrays that have `size` bytes together, in bytes a second."""
    a, b = torch.ones(size // 8), torch.ones(size // 8)
    return size / seconds(lambda: a.copy_(b), 5 if size > 2**24 else 50)


products = {n: rate_of_product(n) for n in (32, 64, 128, 256, 512, 1024)}
copies = {2**power: rate_of_copy(2**power) for power in range(18, 28)}
peak, bandwidth = max(products.values()), copies[2**27]
print(f"peak {peak / 1e9:.0f} billion operations a second")
print(f"memory bandwidth {bandwidth / 1e9:.1f} billion bytes a second")

# %% limits-picture
figure, (left, right) = panels(2, 4.2, 3.2)
left.semilogx(list(products), [rate / 1e9 for rate in products.values()], "o-", color=BLUE)
left.set_xticks(list(products), list(products))
left.minorticks_off()
left.set(xlabel="rows and columns of the matrices", ylabel="billion operations / s", ylim=0)
sizes_in_mb = [size / 2**20 for size in copies]
right.semilogx(sizes_in_mb, [rate / 1e9 for rate in copies.values()], "s-", color=ORANGE)
right.set_xticks([0.25, 1, 4, 16, 64], ["¼", 1, 4, 16, 64])
right.minorticks_off()
right.set(xlabel="size of both arrays (MB)", ylabel="billion bytes / s", ylim=0)
show(
    figure,
    "Left: operations a second of a matrix product, which rise with its size towards the peak of "
    "the core. Right: bytes a second of a copy, high while the arrays fit into a cache, and lower "
    "once they do not.",
)
assert peak > bandwidth  # more than one operation for each byte

# %% [markdown]
# Small arrays are moved faster, because they stay in a **cache**: memory inside the processor that
# keeps what was used last. It is fast, but small. The right-hand end of the curve is the memory
# itself.
#
# Something that takes $f$ operations and moves $b$ bytes needs at least the longer of two times:
#
# $$ t \ge \max\left( \frac{f}{\text{peak}}, \frac{b}{\text{bandwidth}} \right),
# \qquad \frac{f}{t} \le \min\left( \text{peak}, \frac{f}{b} \cdot \text{bandwidth} \right) $$
#
# The quotient $f / b$ is its **arithmetic intensity**: operations for each byte. Drawn in
# logarithms the right-hand formula is a slope that meets a flat top: the **roofline**. Left of the
# ridge, at $\text{peak} / \text{bandwidth}$, memory is the limit, and the core waits; right of it
# arithmetic is.

# %% roof
ridge = peak / bandwidth
print(f"the ridge is at {ridge:.1f} operations for each byte")


def roof(intensity: float) -> float:
    """Return the most operations a second that this core can do at an intensity."""
    return min(peak, intensity * bandwidth)


assert roof(ridge / 2) < peak == roof(2 * ridge)

# %% [markdown]
# ## Where the parts of the encoder lie
#
# We count operations and bytes for $n$ tokens. Each number has four bytes; inputs and weights are
# read once, outputs written once, in the best case. $h = 384$ is the width and $i = 4h$ that of the
# feed-forward layer. Norm and embedding take a few operations for each number. Attention between
# the tokens (without its matrices) is that of texts of $\ell = 32$ tokens, or of a single one.

# %% counted
h, i = 384, 1536


def work(part: str, n: int) -> tuple[int, int]:
    """Count the operations and the bytes of a part of MiniLM for n tokens."""
    length = min(n, 32)
    operations, numbers = {
        "feed-forward": (4 * n * h * i, 2 * h * i + 2 * n * h + 2 * n * i),
        "attention": (4 * n * length * h, 4 * n * h),  # queries, keys, values; outputs
        "layer norm": (7 * n * h, 2 * n * h),
        "embedding": (9 * n * h, 4 * n * h),  # three tables; two sums and a norm
    }[part]
    return operations, 4 * numbers


PARTS, TOKENS = ("feed-forward", "attention", "layer norm", "embedding"), (1, 64, 2048)
intensity = {part: [f / b for f, b in (work(part, n) for n in TOKENS)] for part in PARTS}
for part, counted in intensity.items():
    print(f"{part:<13}" + "".join(f"{value:8.2f}" for value in counted))
claim(intensity["feed-forward"][0], "0.5", within=0.01)
claim(intensity["feed-forward"][1], "26", within=1)
claim(intensity["feed-forward"][2], "133", within=1)
claim(intensity["layer norm"][2], "0.9", within=0.05)
assert intensity["attention"][1] == intensity["attention"][2] == 8

# %% [markdown]
# For a single token each weight is read, used in one product and one addition, and thrown away:
# half an operation for each byte, 0.5. For 64 tokens the same weights serve 64 times, which makes
# 26, and for 2,048 it is 133. Layer norm has 0.9, however many tokens there are, for every token
# brings its own numbers. Nor does their number change attention: there the length of the texts
# counts.
#
# And now measured. The weights have to come from memory, as those of a large model do; MiniLM's six
# layers are repeated until few caches hold them all, and take turns.

# %% deep
deep = copy.deepcopy(encoder)
deep.blocks = nn.ModuleList(copy.deepcopy(block) for _ in range(4) for block in encoder.blocks)
print(f"{len(deep.blocks)} layers, {sum(p.nbytes for p in deep.blocks.parameters()) / 1e6:.0f} MB")
deep = prepack_weights(deep)

# %% [markdown]
# (`prepack_weights` stores the matrices as the kernel wants to read them, where it would otherwise
# copy them at each call.)

# %% measured
vectors = {n: torch.randn(n, h) for n in (1, 2, 4, 8, 16, 32, 64, 256, 2048)}


def rate(part: str, n: int) -> float:
    """Measure a part on n tokens, in operations a second."""
    x, sequences = vectors[n], Sequences.of([min(n, 32)] * max(1, n // 32))
    heads, mask = x.view(n, 12, 32), AttentionMask(sequences)
    zeros, layers = torch.zeros(n, dtype=torch.int64), cycle(deep.blocks)
    ids = torch.randint(1000, 20000, (n,))
    run = {
        "feed-forward": lambda: next(layers).feed_forward(x),
        "attention": lambda: fused.attention(heads, heads, heads, mask),
        "layer norm": lambda: encoder.blocks[0].attention_norm(x),
        "embedding": lambda: encoder.embeddings(ids, zeros, sequences),
    }[part]
    operations, _ = work(part, n)
    return operations / seconds(run, 6 if n > 64 else 40)


rates = {part: [rate(part, n) for n in TOKENS] for part in PARTS}
assert rates["feed-forward"][2] > max(2 * rates["feed-forward"][0], peak / 3)
assert rates["feed-forward"][2] > max(rates["layer norm"] + rates["embedding"])
assert intensity["feed-forward"][0] < ridge < intensity["feed-forward"][2]

# %% roofline
figure, axes = panel(7, 4.8)
line = sorted([ridge, *(2**power for power in range(-4, 10))])
axes.loglog(line, [roof(x) / 1e9 for x in line], color="black", lw=2.5)
cached = [min(peak, x * copies[2**20]) / 1e9 for x in line]
axes.loglog(line, cached, ":", color="black", label="roof of a cache")
for part, colour, style in zip(PARTS, (BLUE, ORANGE, "black", GREY), "osd^", strict=True):
    heights = [value / 1e9 for value in rates[part]]
    axes.plot(intensity[part], heights, style + "-", color=colour, label=part, lw=1, ms=8)
for at, height, n in zip(intensity[PARTS[0]], rates[PARTS[0]], TOKENS, strict=True):
    place = (-12, -4) if n == 1 else (0, -17)
    axes.annotate(f"{n:,}", (at, height / 1e9), place, textcoords="offset points", ha="center")
axes.set_xticks([0.1, 1, 10, 100], ["0.1", 1, 10, 100])
axes.yaxis.set_major_formatter("{x:g}")
axes.set(xlabel="operations for each byte", ylabel="billion operations / s")
axes.legend(frameon=False, loc="lower right")
show(
    figure,
    "The roofline: a slope, the limit of memory, meets a flat top, the peak. The feed-forward "
    "layer lies under the slope for one token, and under the flat top for 64 and for 2,048. Layer "
    "norm and embedding stay left of the ridge at any size, and attention keeps its place between "
    "64 and 2,048.",
)

# %% [markdown]
# Each line runs from 1 token through 64 to 2,048; the numbers are those of the feed-forward layer.
# With one token it is under the slope: *bound by memory*. With 2,048 it comes near the peak: *bound
# by arithmetic*. Norms and embeddings are left of the ridge at any size. More tokens do not move
# them; only fewer trips do, as in a fused kernel. (Where a table fits into a cache they may rise
# above the slope, up to the dotted one.) With one token they are deep under the roof, and so is
# attention: they have so little to do that the call itself takes the time, a third limit.
#
# ## Why a server waits for others
#
# A single question has about a dozen tokens. It needs all weights, as a long text would, and uses
# them a dozen times. If 32 clients ask at about the same time, their questions, packed into one
# row, need the weights once.

# %% together
inputs = [tokenizer.batch([text]) for text in texts]
one_by_one = seconds(lambda: [encoder(**each) for each in inputs], 2)
together = seconds(lambda: encoder(**batch), 2)
print(f"{len(texts)} questions one by one {1000 * one_by_one:.0f} ms, ", end="")
print(f"together {1000 * together:.0f} ms")
assert together < one_by_one

# %% [markdown]
# The time until one answer is there is the **latency**, and the answers in a second are the
# **throughput**. A server that collects requests for a few milliseconds before it computes gives
# away a little of the first, and gains much of the second: `plainformer serve` does so, and its
# batches are packed. How large should a batch be? Here is the feed-forward layer again, its weights
# once from memory and once from a cache.


# %% batches
@torch.no_grad()
def per_token(layers: list[nn.Module], n: int) -> float:
    """Measure layers that take turns on n tokens, in microseconds a token."""
    turns, x = cycle(layers), vectors[n]
    return 1e6 * seconds(lambda: next(turns)(x), max(6, min(40, 320 // n))) / n


counts = [n for n in vectors if n <= 256]
layers = [block.feed_forward for block in deep.blocks]
from_memory = [per_token(layers, n) for n in counts]
from_cache = [per_token(layers[:1], n) for n in counts]
assert from_memory[0] > 2 * from_memory[-1]


# %% batches-picture
def draw_times(axes, lines: dict[str, list[float]], low: float, high: float) -> None:
    """Draw times a token by the tokens of the batch, in logarithms, from `low` to `high`."""
    for (name, times), colour, style in zip(
        lines.items(), (BLUE, ORANGE), ("o-", "s--"), strict=True
    ):
        axes.loglog(counts, times, style, color=colour, label=name)
    axes.set_xticks(counts, counts)
    axes.set_yticks([1, 3, 10, 30, 100, 300, 1000], [1, 3, 10, 30, 100, 300, 1000])
    axes.minorticks_off()
    axes.set(xlabel="tokens in the batch", ylabel="microseconds a token")
    axes.set_ylim(0.7 * low, 1.5 * high)
    axes.legend(frameon=False)


figure, axes = panel(5.5, 3.4)
lines = {"weights from memory": from_memory, "weights from a cache": from_cache}
draw_times(axes, lines, min(from_cache + from_memory), max(from_memory))
show(
    figure,
    "Time a token by the tokens of the batch: it falls steeply at first and is flat at the end. "
    "With few tokens the line from a cache is lower; with many both are one.",
)
print(f"at {counts[0]} token, {from_memory[0] / from_cache[0]:.1f} times as long from memory")
print(f"at {counts[-1]} tokens, {from_memory[-1] / from_cache[-1]:.1f} times")

# %% [markdown]
# The arithmetic of both lines is the same; what lies between them is the way of the weights. To the
# right of the ridge nobody gains any more: there a larger batch only lets its first text wait.
#
# ## int8: a quarter of the bytes
#
# If the weights' bytes are the burden, make them fewer. **Quantisation** rounds each row $w$ of a
# matrix to whole numbers from −127 to 127, which take one byte instead of four, and keeps one scale
# for the row. The input $x$ of the layer is rounded likewise, token by token:
#
# $$ w_q = \text{round}(w / s_w), \quad s_w = \frac{\max |w|}{127}, \qquad
# w \cdot x \approx s_w \, s_x \, (w_q \cdot x_q) $$
#
# The product of whole numbers is exact. All that is lost is lost in rounding.


# %% int8
def to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to whole numbers; return them, and the scales of the rows."""
    scale = x.abs().amax(-1, keepdim=True) / 127
    return torch.round(x / scale), scale


packing = Packing.of(is_token)
packed_ids, packed_types, sequences = packing.pack(ids), packing.pack(types), packing.sequences
rounded = quantize_int8(copy.deepcopy(model))
layer, layer_int8 = (m.base.blocks[0].feed_forward.up for m in (model, rounded))
with torch.no_grad():
    x = encoder.embed(packed_ids, packed_types, sequences)
    (w_q, s_w), (x_q, s_x) = to_int8(layer.weight), to_int8(x)
    by_hand = s_x * (x_q @ w_q.T) * s_w.T + layer.bias
    exact, found = layer(x), layer_int8(x)
assert torch.equal(layer_int8.weight, w_q.to(torch.int8))
torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-5)
assert ((s_w * w_q - layer.weight).abs() <= s_w / 2 * 1.001).all()  # half a step at most
claim(100 * float((found - exact).norm() / exact.norm()), "1.5 %", within=0.4)

# %% [markdown]
# The output of the layer is off by 1.5 % of its length. Errors of many layers add up, so what is
# the vector of a whole question like, after all six?

# %% int8-error
with torch.no_grad():
    before, after = model(**batch), rounded(**batch)
cosines = F.cosine_similarity(before, after)
claim(float(cosines.mean()), "0.998", within=0.002)


def nearest(vectors: Tensor) -> Tensor:
    """Return for each vector the number of the nearest other one."""
    unit = F.normalize(vectors, dim=1)
    return (unit @ unit.T - 2 * torch.eye(len(unit))).argmax(1)


kept = int((nearest(before) == nearest(after)).sum())
print(f"for {kept} of {len(texts)} questions the nearest other one is the same")
assert kept > len(texts) / 2


def megabytes(module: nn.Module) -> float:
    """Return the size of all numbers of a module."""
    return sum(x.nbytes for x in module.state_dict().values()) / 1e6


size, size_int8 = megabytes(encoder.blocks), megabytes(rounded.base.blocks)
claim(100 * size_int8 / size, "25 %", within=0.5)
claim(100 * megabytes(rounded) / megabytes(model), "65 %", within=0.5)

# %% [markdown]
# The cosine of before and after is 0.998, and for most questions the nearest other one is still the
# same. The blocks have become 25 % of their size, scales and biases included. The model as a whole
# is still 65 %, as the [table of tokens](07_bert.py#count) has not been touched;
# `plainformer shrink` rounds that, too, or cuts it down to the tokens that occur in your texts.
#
# And the time? We measure the same layer in both forms.

# %% int8-time
layers_int8 = [copy.deepcopy(b.feed_forward) for _ in range(4) for b in rounded.base.blocks]
int8_from_memory = [per_token(layers_int8, n) for n in counts]
int8_from_cache = [per_token(layers_int8[:1], n) for n in counts]
figure, (left, right) = panels(2, 4.2, 3.4)
everything = from_memory + from_cache + int8_from_memory + int8_from_cache
low, high = min(everything), max(everything)
draw_times(left, {"fp32": from_memory, "int8": int8_from_memory}, low, high)
draw_times(right, {"fp32": from_cache, "int8": int8_from_cache}, low, high)
left.set_title("weights from memory")
right.set_title("weights from a cache")
show(
    figure,
    "Time a token of a layer in fp32 and in int8, by the tokens of the batch, with weights from "
    "memory on the left, from a cache on the right.",
)
for name, full, small in (
    ("memory", from_memory, int8_from_memory),
    ("a cache", from_cache, int8_from_cache),
):
    gains = f"{full[0] / small[0]:.1f} times as fast at 1 token, {full[-1] / small[-1]:.1f} at 256"
    print(f"int8 from {name}: {gains}")

# %% [markdown]
# Two things may be gained, and your machine may have one of them, both, or none. At one token bytes
# count: with a quarter of them the slope of the roofline is four times as steep. So int8 helps
# short texts where the weights come from memory; where they are in a cache already there is less to
# gain, and a kernel that has to round its input first may take longer than before. At many tokens
# arithmetic counts: a processor with instructions for products of bytes has a higher peak for them,
# and one without may be slower in int8 at any length. That is why `plainformer shrink` measures
# both models before it keeps one.
#
# ## Pruning: fewer units
#
# The feed-forward layer has $i$ inner numbers for each token, its *units*. Does it need them all?
# To **prune** is to remove those of least importance. We ask SPLADE, a BERT of two layers and 512
# units in each, after a short training on the questions.

# %% trained
LABELS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def read(part: str) -> tuple[list[str], Tensor]:
    """Read the texts and the numbers of the labels of a part of TREC, in random order."""
    rows = [row.fields for row in read_rows(fetch("trec") / f"{part}.jsonl")]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    labels = torch.tensor([LABELS.index(rows[k]["label"]) for k in order])
    return [rows[k]["text"] for k in order], labels


train_texts, train_labels = read("train")
test_texts, test_labels = (part[:500] for part in read("test"))
test_batch = tokenizer.batch(test_texts)


def train(model: SequenceClassifier, first: int, last: int, rate: float) -> None:
    """Take steps number `first` to `last` on 16 questions each, with a rate that falls to 0."""
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, last - first)
    for step in range(first, last):
        own = slice(16 * step, 16 * step + 16)
        logits = model(**tokenizer.batch(train_texts[own]))
        F.cross_entropy(logits, train_labels[own]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


@torch.no_grad()
def accuracy(model: SequenceClassifier) -> float:
    """Return the percentage of test questions that are answered right."""
    return 100 * float((model(**test_batch).argmax(1) == test_labels).float().mean())


torch.manual_seed(0)
splade = SequenceClassifier.from_pretrained("splade", labels=LABELS, dropout=0.0).eval()
splade.base.embeddings.requires_grad_(False)
train(splade, 0, 80, 1e-3)
whole = accuracy(splade)
claim(whole, "80 %", within=4)

# %% [markdown]
# It has 80 % right. How important is a unit? Put a factor $g = 1$ before its activation $a$. The
# loss $L$ changes with $g$ at the rate $\sum_t a_t \, \partial L / \partial a_t$ over the tokens
# $t$ of a text, and to remove the unit is to move $g$ from 1 to 0. So what its removal costs is, to
# first order,
#
# $$ I = \sum_{\text{texts}} \, \left| \sum_t a_t \, \frac{\partial L}{\partial a_t} \right| $$

# %% importance
from itertools import islice

from plainformer.deploy.shrink import by_gradient, prune_units
from plainformer.finetune import TASKS, read_examples


def importance_for(text: str, label: str) -> Tensor:
    """Compute |Σ a · ∂L/∂a| of the units of both layers, for one text."""
    activations: list[Tensor] = []
    hooks = [
        block.feed_forward.down.register_forward_pre_hook(lambda _, x: activations.append(x[0]))
        for block in splade.base.blocks
    ]
    logits = splade(**tokenizer.batch([text]))
    for hook in hooks:
        hook.remove()
    loss = F.cross_entropy(logits, torch.tensor([LABELS.index(label)]))
    gradients = torch.autograd.grad(loss, activations)
    products = [(a * d).sum(0) for a, d in zip(activations, gradients, strict=True)]
    return torch.stack(products).detach().abs()


task = TASKS["classification"](labels=LABELS, max_length=64)
examples = list(islice(read_examples(type(task), "trec", "train"), 60))
importance = sum(importance_for(example.text, example.label) for example in examples)
items = [task.encode(example, tokenizer) for example in examples]
by_library = by_gradient(task, copy.deepcopy(splade), items).units
torch.testing.assert_close(importance, by_library, rtol=1e-3, atol=1e-4)

# %% [markdown]
# Now all but 128, 32 and 8 of the 512 units of each layer are removed: the least important ones,
# some at random, or the most important ones. Then what is left of the first model is trained for 20
# more steps.


# %% prune
def pruned(scores: Tensor, kept: int) -> SequenceClassifier:
    """Return the model with as many units in each layer, those of the highest score."""
    model = copy.deepcopy(splade)
    prune_units(model, scores, share=1 - kept / 512)
    return model


SCORES = {
    "the most important": importance,
    "random ones": torch.rand(2, 512, generator=torch.Generator().manual_seed(0)),
    "the least important": -importance,
}
KEPT = (512, 128, 32, 8)
scores = {name: [whole] for name in (*SCORES, "trained again")}
for kept in KEPT[1:]:
    models = {name: pruned(order, kept) for name, order in SCORES.items()}
    for name, smaller in models.items():
        scores[name].append(accuracy(smaller))
    train(models["the most important"], 80, 100, 5e-4)
    scores["trained again"].append(accuracy(models["the most important"]))
for name, found in scores.items():
    print(f"{name:<20}", *(f"{value:5.1f}" for value in found))

# %% prune-picture
figure, axes = panel(6.5, 3.6)
for (name, found), colour, style in zip(
    scores.items(), (BLUE, GREY, ORANGE, "black"), ("o-", "^-.", "s--", "d:"), strict=True
):
    label = name if name == "trained again" else f"kept: {name}"
    axes.plot(range(4), found, style, color=colour, label=label)
axes.set_xticks(range(4), KEPT)
axes.set(xlabel="units kept in each layer", ylabel="accuracy (%)", ylim=(60, 86))
axes.legend(frameon=False, loc="lower left", ncols=2)
show(
    figure,
    "Accuracy by the units that are kept: it falls from 512 to 8, latest where the most important "
    "ones are kept. After twenty more steps of training it is nearly back.",
)
best, least, again = (
    scores[name] for name in ("the most important", "the least important", "trained again")
)
claim(best[1], "78 %", within=4)
claim(best[3], "71 %", within=4)
claim(again[3], "78 %", within=4)
assert best[1] > least[1] + 1 and abs(best[3] - least[3]) < 5 and again[3] > best[3] + 2
smaller = pruned(importance, 128).base.flops_per_token(12) / splade.base.flops_per_token(12)
claim(100 * smaller, "51 %", within=0.5)

# %% [markdown]
# With a quarter of the units, the most important ones, 78 % are right, and the operations are 51 %
# of what they were. With 8 units of 512 it is 71 %, whichever they are, and after 20 steps of
# training 78 % again. That is a surprise: for this task the feed-forward layers, two thirds of the
# arithmetic, hardly matter. Other tasks are not as kind; ask yours:
# `plainformer shrink RUN --data test.csv --units 0.5 --train train.csv` prints size, speed and
# score before and after.
#
# A pruned model is an ordinary one with narrower matrices. Single weights can be set to 0 as well,
# wherever they stand (`--zeros`), but a matrix with holes takes the time of a full one.
#
# ## Shapes that stay the same
#
# A packed batch has another length each time, and its boundaries are read while it runs. That suits
# torch, which takes each call as it comes. A model that is [exported](../docs/deployment.md), as a
# graph for other programs, is one fixed list of operations for all batches. It takes and gives
# padded batches, and packs them inside: attention alone sees padding. Some accelerators go further
# and want every shape to be known beforehand. Then lengths are rounded up to a few sizes,
# *buckets*, and texts of one bucket share a batch. What is the waste?

# %% buckets
rounded_up = (lengths + 7) // 8 * 8
claim(100 * float(1 - lengths.sum() / rounded_up.sum()), "22 %", within=1)

# %% [markdown]
# With lengths rounded up to multiples of 8 it is 22 % for the questions: less than the 51 % of
# mixed batches, and more than the nothing of packed ones.
#
# ## Exercises
#
# **1.** Count the operations of one layer for a packed batch: products only, as in [The
# encoder](05_encoder.py#operations), with $i = 4h$. How many would the padded batch take?


# %% exercise-1
def layer_operations(lengths: list[int], h: int) -> int:
    """Count the operations of one layer of width h for packed texts of these lengths."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    assert layer_operations([1], 10) == 2440
    for n in (7, 100):
        assert 6 * layer_operations([n], 384) == encoder.flops_per_token(n) * n
    apart = layer_operations([7], 384) + layer_operations([100], 384)
    assert layer_operations([7, 100], 384) == apart < layer_operations([107], 384)
    real = is_token.sum(1).tolist()
    share = layer_operations(real, 384) / layer_operations([is_token.shape[1]] * 32, 384)
    assert abs(share - 0.58) < 0.01


# %% [markdown]
# <details><summary>Hint</summary>The matrices have 12 h² numbers; each takes part in one product
# and one addition for each token. A text of n tokens has n² pairs, each with a score (2 h) and its
# share in the mean (2 h).</details>


# %% solution-1
def layer_operations(lengths: list[int], h: int) -> int:
    """Count the operations of one layer of width h for packed texts of these lengths."""
    return 24 * h**2 * sum(lengths) + 4 * h * sum(n**2 for n in lengths)


# %% [markdown]
# **2.** With 4 bits there are only the numbers from −7 to 7, and one large number in a row makes
# the steps coarse for all others. So each *group* of numbers that stand side by side gets a scale
# of its own. Round a matrix so, and return the numbers that it stands for then.


# %% exercise-2
def round_in_groups(matrix: Tensor, levels: int, group: int) -> Tensor:
    """Round to whole numbers from −levels to levels times a scale for each group of a row."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    matrix = layer.weight.detach()
    with torch.no_grad():
        by_row = layer_int8.weight * layer_int8.scale[:, None]
    torch.testing.assert_close(round_in_groups(matrix, 127, 384), by_row)
    errors = []
    for group in (16, 64, 384):
        found = round_in_groups(matrix, 7, group)
        assert found.shape == matrix.shape
        parts, own = found.view(-1, group), matrix.view(-1, group)
        step = own.abs().amax(1, keepdim=True) / 7
        assert ((parts - own).abs() <= 0.501 * step).all()
        whole_numbers = parts / step
        torch.testing.assert_close(whole_numbers, whole_numbers.round(), rtol=0, atol=1e-3)
        errors.append(float((found - matrix).norm() / matrix.norm()))
    assert errors[0] < errors[1] < errors[2]


# %% [markdown]
# <details><summary>Hint</summary>Make a row of each group: <code>view(-1, group)</code>. The scale
# is the largest magnitude divided by the levels.</details>


# %% solution-2
def round_in_groups(matrix: Tensor, levels: int, group: int) -> Tensor:
    """Round to whole numbers from −levels to levels times a scale for each group of a row."""
    parts = matrix.reshape(-1, group)
    scale = parts.abs().amax(1, keepdim=True) / levels
    return (torch.round(parts / scale) * scale).view_as(matrix)


# %% [markdown]
# **3.** From how many tokens on is a matrix product bound by arithmetic? A matrix of `rows` ×
# `columns` with `bytes_each` bytes for a weight meets $n$ tokens, whose inputs and outputs have
# four bytes a number. Solve for the $n$ at which its intensity is that of the ridge. The check
# holds the answer against your machine.


# %% exercise-3
def tokens_at_ridge(rows: int, columns: int, ridge: float, bytes_each: int = 4) -> float:
    """Return the tokens at which the intensity is that of the ridge; infinity if it never is."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    assert abs(tokens_at_ridge(1000, 1000, 1) - 1000 / 498) < 1e-6
    for rows, columns, at in ((384, 1536, 4.0), (768, 768, 20.0), (64, 4096, 9.0)):
        for each in (1, 4):
            n = tokens_at_ridge(rows, columns, at, each)
            moved = each * rows * columns + 4 * n * (rows + columns)
            assert abs(2 * n * rows * columns / moved - at) < 1e-6
        assert tokens_at_ridge(rows, columns, at, 1) < n
    assert tokens_at_ridge(8, 8, 4.0) == float("inf")  # the intensity stays below 2
    n = tokens_at_ridge(h, i, ridge)
    print(f"here the two limits meet at {n:.0f} tokens, in int8 at {n / 4:.0f}")
    few, many = (rate("feed-forward", tokens) for tokens in (1, 256))
    assert few < many


# %% [markdown]
# <details><summary>Hint</summary>2 n r c / (b r c + 4 n (r + c)) = ridge is linear in n once it is
# multiplied out. If the factor of n is not positive, no number of tokens is enough.</details>


# %% solution-3
def tokens_at_ridge(rows: int, columns: int, ridge: float, bytes_each: int = 4) -> float:
    """Return the tokens at which the intensity is that of the ridge; infinity if it never is."""
    size = rows * columns
    factor = 2 * size - 4 * ridge * (rows + columns)
    return ridge * bytes_each * size / factor if factor > 0 else float("inf")
