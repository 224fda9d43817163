# %% [markdown]
# # Norms and residuals
#
# A Transformer is deep: it applies attention again and again. Two small things make that possible,
# an addition and a division. This chapter takes them away, one at a time, and shows what breaks:
# first in a model that has learned nothing yet, then in one that tries to.

# %% imports
from collections.abc import Callable, Iterable

import numpy as np
import torch
from guide import BLUE, GREY, ORANGE, check, claim, panel, panels, show
from torch import Tensor, nn

from plainformer.encoder import AttentionMask, Block, FeedForward, LayerNorm, MultiHeadAttention
from plainformer.encoder import RMSNorm, Sequences

torch.manual_seed(0)
torch.set_num_threads(1)  # the models of this chapter are too small for more

# %% [markdown]
# ## Norms
#
# **Layer normalisation** gives each vector mean 0 and variance 1, whatever came in. Then each entry
# is scaled by a learned weight $w$ and moved by a learned bias $b$:
#
# $$y = \frac{x - \text{mean}(x)}{\sqrt{\text{var}(x) + \varepsilon}} \cdot w + b$$
#
# The small $\varepsilon$ keeps the root away from 0. Each token is normalised alone.


# %% layer-norm
def layer_norm(x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)


x = torch.randn(5, 64) * 3 + 2
norm = LayerNorm(64)  # before training, w is 1 and b is 0
torch.testing.assert_close(norm(x), torch.tensor(layer_norm(x.numpy())))
torch.testing.assert_close(norm(x), nn.LayerNorm(64)(x))


# %% [markdown]
# **RMS normalisation** is shorter: it does not subtract the mean, and divides by the root of the
# mean square.
#
# $$y = \frac{x}{\sqrt{\text{mean}(x^2) + \varepsilon}} \cdot w$$


# %% rms-norm
def rms_norm(x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)


torch.testing.assert_close(RMSNorm(64)(x), torch.tensor(rms_norm(x.numpy())))
torch.testing.assert_close(RMSNorm(64)(x), nn.RMSNorm(64, 1e-5)(x))

# %% [markdown]
# What a norm forgets is the size. A vector a thousand times as long comes out the same: whatever
# the layers before have done to the size, the next layer does not see it.

# %% size-is-forgotten
torch.testing.assert_close(norm(1000 * x), norm(x), rtol=0, atol=1e-4)

# %% [markdown]
# ## Residuals
#
# A layer could replace its input: $x \leftarrow f(x)$. A **residual connection** adds to it
# instead: $x \leftarrow x + f(x)$. The input travels on unchanged, and the layer writes beside it.
#
# A **block** of a Transformer has two such steps. The first is attention. The second is a
# **feed-forward layer**: two matrices with a nonlinear function between them, for each token alone
# ([the next chapter](05_encoder.py) looks into it). The norm has two possible places:
#
# - **post-norm**, as in BERT: $x \leftarrow \text{norm}(x + f(x))$;
# - **pre-norm**, as in newer models: $x \leftarrow x + f(\text{norm}(x))$.
#
# A `Block` is built from its parts. By hand it is two lines.

# %% block
width, mask = 64, AttentionMask(Sequences.of([5]))
attention, feed_forward = MultiHeadAttention(width, num_heads=4), FeedForward(width, 4 * width)
norms = LayerNorm(width), LayerNorm(width)
pre = Block(attention, feed_forward, *norms, norm_order="pre")
post = Block(attention, feed_forward, *norms, norm_order="post")

y = x + attention(norms[0](x), mask)[0]
torch.testing.assert_close(pre(x, mask)[0], y + feed_forward(norms[1](y)))
y = norms[0](x + attention(x, mask)[0])
torch.testing.assert_close(post(x, mask)[0], norms[1](y + feed_forward(y)))


# %% [markdown]
# ## What breaks without them
#
# We stack 24 blocks of five kinds. `nn.Identity()` in place of a norm is no norm, and a subclass
# leaves the addition out. Matrices are random, and such that a product neither grows nor shrinks a
# random vector: each entry has variance 1 / columns.


# %% kinds
class Replacing(Block):
    """A block without residuals: each layer replaces its input."""

    def forward(self, x: Tensor, mask: AttentionMask) -> tuple[Tensor, None]:
        x = self.attention_norm(self.attention(x, mask)[0])
        return self.feed_forward_norm(self.feed_forward(x)), None


KINDS = {
    "pre-norm": (Block, LayerNorm, "pre"),
    "post-norm": (Block, LayerNorm, "post"),
    "no norms": (Block, nn.Identity, "pre"),
    "no residuals": (Replacing, LayerNorm, "post"),
    "neither": (Replacing, nn.Identity, "post"),
}
STYLES = dict(zip(KINDS, ["-", "--", ":", "-.", (0, (9, 4))], strict=True))
COLOURS = dict(zip(KINDS, [BLUE, ORANGE, "black", GREY, "purple"], strict=True))


def stack(kind: str, width: int, depth: int) -> nn.ModuleList:
    """Build `depth` blocks with random matrices."""
    block, norm, order = KINDS[kind]
    blocks = nn.ModuleList()
    for _ in range(depth):
        layers = MultiHeadAttention(width, width // 16), FeedForward(width, 4 * width)
        blocks.append(block(*layers, norm(width), norm(width), norm_order=order))
    for weight in blocks.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return blocks


# %% [markdown]
# A text of 32 tokens goes through. After each block we measure two things: the size of the vectors,
# as the root of the mean square, and how alike the tokens are, as the mean cosine of two of them.


# %% measure
def size(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


def likeness(x: Tensor) -> float:
    directions = nn.functional.normalize(x, dim=-1)
    cosines = directions @ directions.T
    return cosines[~torch.eye(len(x), dtype=torch.bool)].mean().item()


mask = AttentionMask(Sequences.of([32]))
x = torch.randn(32, 64, dtype=torch.float64)
sizes, alike, gradients = {}, {}, {}
for kind in KINDS:
    blocks, states = stack(kind, 64, depth=24).double(), [x]
    for block in blocks:
        states.append(block(states[-1], mask)[0])
    sizes[kind], alike[kind] = list(map(size, states)), list(map(likeness, states))
    top = nn.functional.layer_norm(states[-1], (64,))  # what follows sees vectors of size 1
    (top * torch.randn_like(top)).sum().backward()
    gradients[kind] = [
        sum(w.grad.square().sum() for w in block.parameters()).sqrt().item() for block in blocks
    ]

# %% signal
figure, (left, right) = panels(2, 4.2, 3.6)
for kind, style in STYLES.items():
    left.semilogy(sizes[kind], ls=style, color=COLOURS[kind], label=kind)
    right.plot(alike[kind], ls=style, color=COLOURS[kind])
left.set(xlabel="blocks", ylabel="size of the vectors")
right.set(xlabel="blocks", ylabel="likeness of the tokens")
left.legend(fontsize=8)
show(
    figure,
    "Left: size of the vectors by depth, in logarithms. Without norms it rises in a straight line, "
    "which is exponential; with pre-norm it rises slowly; with post-norm it stays at 1. Right: "
    "without residuals all tokens are alike after a few blocks; with pre-norm they differ longest.",
)

# %% signal-figures
assert sizes["no norms"][24] > 10_000
assert 3 < sizes["pre-norm"][24] < 8
assert min(alike["no residuals"][4], alike["neither"][4]) > 0.98
assert alike["pre-norm"][24] < 0.9 < alike["post-norm"][24]

# %% [markdown]
# - **Without norms** each block adds something as large as what is there. The size explodes: more
#   than ten thousand times after 24 blocks.
# - **Without residuals** each token becomes a mean of all. After four blocks all tokens are nearly
#   the same vector, and no norm can bring back what is lost. Attention alone blurs; the addition
#   keeps each token itself.
# - **With pre-norm** the size grows slowly, about as the root of the depth, since each block adds
#   something of size 1. **With post-norm** it is 1 everywhere, but here, too, tokens become alike:
#   each norm shrinks the part that came unchanged through the addition.
#
# ## Gradients by depth
#
# Training moves each number of a model a little, such that a **loss**, a measure of its mistakes,
# falls. The **gradient** says how much the loss would rise with each number, so a step goes against
# it. It is computed backwards, from the last block to the first. If it shrinks to nothing on the
# way, the first blocks do not learn; if it grows without limit, a step destroys them.

# %% gradients
figure, axes = panel(5.6, 3.8)
for kind, style in STYLES.items():
    axes.semilogy(range(1, 25), gradients[kind], ls=style, color=COLOURS[kind], label=kind)
axes.set(xlabel="block", ylabel="gradient norm of its matrices")
axes.legend(fontsize=8)
show(
    figure,
    "Norm of the gradient by block, in logarithms. With pre-norm and post-norm it is within a "
    "factor of ten over all blocks, and larger at the last block with post-norm than pre-norm. "
    "With neither norms nor residuals it falls by many powers of ten towards the first block.",
)
spread = {kind: max(values) / min(values) for kind, values in gradients.items()}
print({kind: f"{value:.1e}" for kind, value in spread.items()})
assert spread["pre-norm"] < 20
assert spread["post-norm"] < 20
assert spread["no residuals"] < 20
assert spread["no norms"] > 100
assert gradients["neither"][23] > 10_000 * gradients["neither"][0]
assert gradients["post-norm"][23] > 2 * gradients["pre-norm"][23]

# %% [markdown]
# With neither, the gradient of the first block is less than a ten-thousandth of that of the last:
# it **vanishes**. Norms alone keep its size over the blocks, but the tokens are alike by then, and
# little is left to learn from. Residuals alone make the size of the vectors explode, and the
# gradients of the blocks differ by a factor of more than a hundred. Pre-norm and post-norm keep the
# gradient at nearly one size over all blocks, but differ at the end: with pre-norm the last blocks
# have the smallest gradients, with post-norm they have large ones. That will matter in a moment.
#
# ## A small training
#
# The five kinds have to learn something easy: a row of 12 random digits comes in, and each token
# has to name the digit before it (the first, the last one). It takes one head of
# [the last chapter](03_attention.py). The loss is the mean of $-\log p$, where $p$ is the
# probability that the model gives the right digit; guessing among ten costs $\log 10$.


# %% model
class Reader(nn.Module):
    """Six blocks that read digits and answer with scores of digits, for each token."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.digits, self.positions = nn.Embedding(10, 32), nn.Embedding(12, 32)
        self.blocks = stack(kind, width=32, depth=6)
        self.norm, self.output = LayerNorm(32), nn.Linear(32, 10)

    def forward(self, digits: Tensor, sequences: Sequences) -> Tensor:
        x, mask = (
            self.digits(digits) + self.positions(sequences.positions),
            AttentionMask(sequences),
        )
        for block in self.blocks:
            x, _ = block(x, mask)
        return self.output(self.norm(x))


# %% [markdown]
# A step computes the loss of 32 rows and its gradient, and moves the numbers. How far is the
# **learning rate**. What makes a step of the gradient is the **optimizer**: ours, Adam, divides
# each gradient by its recent size, so that all numbers move about equally far.


# %% train
def train(kind: str, rates: Iterable[float]) -> list[float]:
    """Train a model with a learning rate for each step; return the losses."""
    torch.manual_seed(0)
    model, losses = Reader(kind), []
    optimizer = torch.optim.Adam(model.parameters())
    for rate in rates:
        digits = torch.randint(10, (32, 12))
        scores = model(digits.flatten(), Sequences.of([12] * 32))
        loss = nn.functional.cross_entropy(scores, digits.roll(1, dims=1).flatten())
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        losses.append(loss.item())
    return losses


losses = {kind: train(kind, [0.007] * 120) for kind in KINDS}

# %% [markdown]
# Only pre-norm learns. The four others stay near the loss of guessing, 2.30.

# %% learning
figure, axes = panel(5.6, 3.8)
for kind, style in STYLES.items():
    axes.plot(losses[kind], ls=style, color=COLOURS[kind], label=kind)
axes.axhline(np.log(10), color=GREY, lw=0.8)
axes.set(xlabel="step", ylabel="loss", ylim=(0, 3))
axes.legend(fontsize=8)
show(
    figure,
    "Loss by step. With pre-norm it falls to nearly zero within a hundred steps. With post-norm, "
    "without norms, without residuals and with neither it stays near that of guessing.",
)
last = {kind: float(np.mean(values[-20:])) for kind, values in losses.items()}
print({kind: round(value, 2) for kind, value in last.items()})
claim(np.log(10), "2.30", within=0.01)
assert last.pop("pre-norm") < 0.1
assert min(last.values()) > 1.6

# %% [markdown]
# ## The first steps
#
# Yet BERT is post-norm, and it has learned. Its rate begins near zero and rises for some steps, a
# **warm-up**. The usual explanation is that the large gradients of the last blocks make the first
# steps of post-norm dangerous: Adam has seen few gradients yet, and moves every number at full
# speed. Small steps at first let the model come to a place from which larger ones are safe.

# %% warm-up
warmed = [0.007 * min(1.0, (step + 1) / 80) for step in range(180)]
with_warm_up = train("post-norm", warmed)
figure, axes = panel(5.6, 3.6)
axes.plot(losses["post-norm"], "--", color=ORANGE, label="post-norm")
axes.plot(with_warm_up, color="black", label="post-norm, warm-up over 80 steps")
axes.plot(losses["pre-norm"], color=BLUE, lw=1, label="pre-norm")
axes.set(xlabel="step", ylabel="loss", ylim=(0, 3))
axes.legend(fontsize=8)
show(
    figure,
    "Loss by step. Post-norm stays at the loss of guessing. With a warm-up over 80 steps it falls, "
    "too, later than pre-norm, which needs no warm-up.",
)
assert np.mean(with_warm_up[-10:]) < 1.0

# %% [markdown]
# The same blocks, the same highest rate: with the warm-up post-norm learns. It can learn, but is
# harder to start. That is why newer models are pre-norm, above all deep ones, and why training
# recipes still have a warm-up. Pre-norm has a price, too: the sum grows, as the picture of the
# sizes shows, so that what a late block adds is small beside it.
#
# ## Exercises
#
# **1.** A layer norm without weight and bias is an RMS norm of something. Write it with the
# library's `RMSNorm`.


# %% exercise-1
def layer_norm_by_rms(x: Tensor) -> Tensor:
    """Normalise each row to mean 0 and variance 1, with `RMSNorm`."""
    return RMSNorm(x.shape[-1])(x)


# %% check-1
@check
def exercise_1() -> None:
    x = torch.randn(4, 16) * 3 + 5
    torch.testing.assert_close(layer_norm_by_rms(x), LayerNorm(16)(x))


# %% [markdown]
# <details><summary>Hint</summary>The variance is the mean square of the entries minus their
# mean.</details>


# %% solution-1
def layer_norm_by_rms(x: Tensor) -> Tensor:
    """Normalise each row to mean 0 and variance 1, with `RMSNorm`."""
    return RMSNorm(x.shape[-1])(x - x.mean(-1, keepdim=True))


# %% [markdown]
# **2.** Let a block begin as nothing: set numbers of its two layers, `block.attention` and
# `block.feed_forward`, to zero, such that a pre-norm block returns its input unchanged. (Even a
# deep stack of such blocks then begins by passing its input on.) Set as few numbers to zero
# as you can; the block must still be able to learn.


# %% exercise-2
def begin_as_nothing(block: Block) -> None:
    """Set parameters of the block to zero, in place."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    block, mask = stack("pre-norm", 32, depth=1)[0], AttentionMask(Sequences.of([6]))
    begin_as_nothing(block)
    x = torch.randn(6, 32)
    torch.testing.assert_close(block(x, mask)[0], x)
    zeros = sum(int((weight == 0).sum()) for weight in block.parameters() if weight.ndim == 2)
    assert zeros == 32 * 32 + 32 * 128, "two matrices are enough"
    block(x, mask)[0].square().sum().backward()
    for layer in (block.attention, block.feed_forward):
        assert any(w.grad.any() for w in layer.parameters() if w.ndim == 2), "it cannot learn"


# %% [markdown]
# <details><summary>Hint</summary>What is added is the output of the last matrix of each of the two
# layers. A bias is a part of it, too.</details>


# %% solution-2
def begin_as_nothing(block: Block) -> None:
    """Set parameters of the block to zero, in place."""
    for last in (block.attention.output, block.feed_forward.down):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


# %% [markdown]
# **3.** Carry a gradient back through a layer norm. Given $x$ and $g$, the gradient of the loss by
# each entry of $y = (x - \text{mean}(x)) / \sigma$, return the gradient by each entry of $x$,
# without torch's automatic differentiation. Leave $\varepsilon$ out.


# %% exercise-3
def layer_norm_backward(x: Tensor, g: Tensor) -> Tensor:
    """Return the gradient by `x`, `(rows, entries)`."""
    return g / x.std(-1, correction=0, keepdim=True)


# %% check-3
def gradient_by(function: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    function(leaf).backward(g)
    return leaf.grad


@check
def exercise_3() -> None:
    x, g = torch.randn(2, 4, 16, dtype=torch.float64)
    expected = gradient_by(lambda x: nn.functional.layer_norm(x, (16,), eps=0.0), x, g)
    torch.testing.assert_close(layer_norm_backward(x, g), expected)


# %% [markdown]
# <details><summary>Hint</summary>Two directions cannot change $y$: adding a number to all entries
# of $x$, and stretching $x$ around its mean. So take out of $g$ its mean, and its part along $y$,
# which is $y \cdot \text{mean}(g y)$; then divide by $\sigma$.</details>


# %% solution-3
def layer_norm_backward(x: Tensor, g: Tensor) -> Tensor:
    """Return the gradient by `x`, `(rows, entries)`."""
    sigma = x.std(-1, correction=0, keepdim=True)
    y = (x - x.mean(-1, keepdim=True)) / sigma
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / sigma
