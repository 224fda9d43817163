# %% [markdown]
# # From a laptop to a cluster
#
# A larger batch than fits into memory, two processes instead of one, a model that is shared out
# among four: each is a change of who computes what, and none may change the result. Here we work
# out by hand why it does not, and then train the same small model on 1, 2 and 4 processes and
# compare the losses.

# %% setup
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from guide import BLUE, GREY, ORANGE, check, panel, panels, show
from safetensors.torch import load_file
from torch import Tensor, nn

from plainformer.corpora import fetch
from plainformer.encoder import EncoderConfig, MaskedLM
from plainformer.pretrain import PretrainConfig, pretrain
from plainformer.tokenizer import train_tokenizer
from plainformer.training import Loss, TrainingConfig, train

torch.manual_seed(0)
work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A batch in parts: accumulation
#
# A training step takes the mean loss over all masked tokens of a batch. If the batch does not fit
# into memory, it is cut into *micro-batches*, and their gradients are added up: *gradient
# accumulation*. But how are they added?
#
# Two micro-batches: in the first one token was masked, with a loss of 6; in the second three, with
# losses of 2 each.

# %% means
first, second = [6.0], [2.0, 2.0, 2.0]
mean_of_means = (sum(first) / 1 + sum(second) / 3) / 2
right = sum(first + second) / 4
print("mean of the two means:", mean_of_means)
print("mean over all tokens: ", right)
assert (mean_of_means, right) == (4, 3)

# %% [markdown]
# The mean over the tokens is 3, and the mean of the means is 4: the single token counts three times
# as much as any other. The right mean adds up the losses $\ell$, and divides once, by the number of
# all tokens:
#
# $$ g = \frac{ \sum_b \nabla \sum_{t \in b} \ell_t }{ \sum_b n_b } $$
#
# That is why an objective of this library returns a sum and a count (a `Loss`), never a mean. The
# same with a gradient: a line through four points, $y = w x$, with the loss $(w x - y)^2$.


# %% line
@dataclass(frozen=True)
class Points:
    """A micro-batch of points."""

    x: Tensor
    y: Tensor

    @property
    def num_tokens(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> "Points":
        return Points(self.x.to(device), self.y.to(device))


def squares(model: nn.Module, batch: Points) -> Loss:
    """Add up the squared errors, and count the points."""
    errors = model(batch.x[:, None])[:, 0] - batch.y
    return Loss(errors.square().sum(), len(errors))


x, y = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([6.0, 1.0, 1.0, 1.0])
parts = [Points(x[:1], y[:1]), Points(x[1:], y[1:])]

# %% [markdown]
# By hand: the derivative of one loss is $2 (w x - y) x$, and $w$ starts at 0.

# %% gradients
each = 2 * (0 * x - y) * x
of_all = float(each.sum() / 4)
of_means = float((each[:1].mean() + each[1:].mean()) / 2)
print("each point:", each.tolist(), " right:", of_all, " mean of means:", of_means)
assert (of_all, of_means) == (-7.5, -9)

# %% [markdown]
# The library's own loop takes one step on the two parts, and another one on the whole, and logs
# loss and the length of the gradient.


# %% accumulate
def one_step(batches: list[Points], name: str) -> dict[str, float]:
    """Take one step from w = 0 and return what the loop has logged."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    config = TrainingConfig(steps=1, device="cpu", eval_every=0, checkpoint_every=0)
    train(model, squares, lambda step: batches, config, work / name, quiet=True)
    row: dict[str, float] = json.loads((work / name / "log.jsonl").read_text())
    return row


in_parts, whole = one_step(parts, "parts"), one_step([Points(x, y)], "whole")
print(in_parts)
assert in_parts["loss"] == whole["loss"] == float((y**2).mean())
assert in_parts["grad_norm"] == whole["grad_norm"] == abs(of_all)

# %% [markdown]
# The loop gives the right one, and does not care where the cut is.
#
# ## Adding up over processes: all-reduce
#
# With *data parallel* training (DDP) every process has a copy of the model and takes some of the
# micro-batches. Then all need the sum of all gradients. The exchange that gives every process the
# sum is called *all-reduce*. In a ring of $n$ processes it takes two trips. Each process cuts its
# gradient into $n$ chunks. On the first trip every chunk is handed on round the ring, and each
# process adds its own numbers, so that in the end each process has the sum of one chunk. On the
# second trip the sums are handed on to all.


# %% ring
def all_reduce(gradients: Tensor) -> tuple[Tensor, int]:
    """Sum rows over processes in a ring; return them, and how many numbers one process sends."""
    n, size = gradients.shape
    chunks = gradients.clone().view(n, n, size // n)  # (process, chunk, numbers)
    sent = 0
    for trip in ("add", "replace"):
        for step in range(n - 1):
            offset = 0 if trip == "add" else 1
            messages = [chunks[p, (p - step + offset) % n].clone() for p in range(n)]
            for p in range(n):
                received, chunk = messages[(p - 1) % n], (p - 1 - step + offset) % n
                chunks[p, chunk] = received + (chunks[p, chunk] if trip == "add" else 0)
            sent += size // n
    return chunks.view(n, size), sent


gradients = torch.randn(4, 12)
summed, sent = all_reduce(gradients)
torch.testing.assert_close(summed, gradients.sum(0).expand(4, 12))
print("each process has sent", sent, "numbers, for a gradient of 12")
assert sent == 2 * 12 * 3 / 4

# %% [markdown]
# A process sends $2 \cdot \frac{n-1}{n}$ times the size of the gradient: for many processes nearly
# twice its size, and never more, however many there are. That is why it suits a cluster; only the
# number of messages, $2 (n - 1)$, grows with it.
#
# ## The same losses on one process and on two
#
# Now the real thing: a small masked language model on a few hundred questions, six steps of four
# micro-batches each. On one process, in this very program:

# %% corpus
lines = (fetch("trec") / "train.txt").read_text(encoding="utf-8").splitlines()[:300]
(work / "text.txt").write_text("\n".join(lines), encoding="utf-8")
train_tokenizer(lines, vocab_size=400).save(work / "tokenizer")
config = PretrainConfig(
    corpus=(str(work / "text.txt"),),
    tokenizer=work / "tokenizer",
    out=work / "one",
    preset="bert-tiny",
    max_length=64,
    batch_tokens=256,
    accumulate=4,
    valid_share=0.1,
    workers=1,
    training=TrainingConfig(steps=6, eval_every=0, checkpoint_every=3, device="cpu"),
)
pretrain(config, quiet=True)


def losses(name: str) -> list[float]:
    """Read the losses of a run from its log."""
    rows = map(json.loads, (work / name / "log.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


print(losses("one"))
assert len(losses("one")) == 6

# %% [markdown]
# On several, `torchrun` starts the processes; each finds its number in its environment. The options
# are those of the run above, from the file that it has left.


# %% launch
def launch(processes: int, name: str, *options: str) -> None:
    """Pretrain on several processes with the options of the first run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "plainformer", "pretrain"]
    command += ["--config", str(work / "one" / "options.json"), "--out", str(work / name)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


launch(2, "two")
for one, two in zip(losses("one"), losses("two"), strict=True):
    print(f"{one:.7f}  {two:.7f}  {two - one:+.0e}")
torch.testing.assert_close(
    torch.tensor(losses("two")), torch.tensor(losses("one")), rtol=1e-5, atol=0
)

# %% [markdown]
# The losses agree to about five digits. What remains is rounding: the sums are the same, in another
# order. It works because text, masks and dropout follow from the seed, the step and the number of
# the micro-batch, and never from the process: process $r$ of $n$ takes numbers $r, r + n, r + 2n,
# \dots$
#
# ## Sharing out the model
#
# DDP keeps everything on every process. For each parameter that is, in single precision, 4 bytes
# for the weight, 4 for its gradient, and 8 for the two moments of AdamW (running means of the
# gradient and of its square): 16 bytes. *Fully sharded* training (FSDP) gives each process a part
# of every tensor, a *shard* (not to be confused with the [shards of a corpus](06_pretraining.py)),
# and gathers the whole weights of one block only while that block is computed.


# %% bytes
def shard_bytes(model: nn.Module, processes: int) -> list[int]:
    """Count the bytes that each process keeps: 16 for each number of its shards."""
    kept = [0] * processes
    for parameter in model.parameters():
        for rank, shard in enumerate(parameter.chunk(processes)):  # along the first dimension
            kept[rank] += 16 * shard.numel()
    return kept


with torch.device("meta"):
    base = MaskedLM(EncoderConfig.preset("bert-base"))
blocks = [sum(p.numel() for p in block.parameters()) for block in base.base.blocks]
print(f"{'processes':>9} {'kept by one':>12} {'and a block':>12}")
for n in (1, 2, 4, 8):
    print(f"{n:9} {max(shard_bytes(base, n)) / 1e6:9.0f} MB {4 * max(blocks) / 1e6:9.0f} MB")
assert all(sum(shard_bytes(base, n)) == 16 * base.num_parameters() for n in (1, 2, 4, 8))

# %% [markdown]
# What all keep together is one copy, whatever their number. The 16 bytes can be checked: a
# checkpoint holds weights and moments, 4 and 8 bytes a parameter.

# %% checkpoint
checkpoint = work / "two" / "checkpoints" / "step-00000006"
model = MaskedLM.from_pretrained(work / "two")
weights, moments = (
    load_file(checkpoint / f"{part}.safetensors") for part in ("model", "optimizer")
)
sizes = [sum(t.nbytes for t in part.values()) for part in (weights, moments)]
print(sizes, "bytes for", model.num_parameters(), "parameters")
assert sizes[0] == 4 * model.num_parameters()
assert 0 <= sizes[1] - 8 * model.num_parameters() <= 8 * len(weights)  # and the number of steps

# %% memory-picture
figure, axes = panel(5.5, 3.2)
counts = [1, 2, 4, 8]
axes.plot(
    counts, [max(shard_bytes(base, 1)) / 1e9] * 4, color=GREY, marker="s", ls="--", label="DDP"
)
kept = [(max(shard_bytes(base, n)) + 4 * max(blocks) * (n > 1)) / 1e9 for n in counts]
axes.plot(counts, kept, color=BLUE, marker="o", label="FSDP, with one whole block")
axes.set(xscale="log", xticks=counts, xticklabels=counts, xlabel="processes", ylim=(0, None))
axes.set_ylabel("GB on each process")
axes.minorticks_off()
axes.legend()
show(
    figure,
    "Memory of weights, gradients and optimizer for BERT-base on each process: with DDP it stays "
    "near 1.8 GB, with FSDP it nearly halves with each doubling of the processes.",
)

# %% [markdown]
# The *activations* come on top: what the layers compute for the batch, kept for the way back. They
# depend on the batch, not on the sharing.
#
# Four processes with FSDP, and once more the losses of one:

# %% four
launch(4, "four", "--parallel", "fsdp")
torch.testing.assert_close(
    torch.tensor(losses("four")), torch.tensor(losses("one")), rtol=1e-5, atol=0
)
figure, (left, off) = panels(2, 4.2, 3.2)
for name, (colour, line, marker) in {
    "one": (GREY, "-", "o"),
    "two": (BLUE, "--", "s"),
    "four": (ORANGE, ":", "^"),
}.items():
    style = {"color": colour, "linestyle": line, "marker": marker, "label": name}
    left.plot(range(1, 7), losses(name), **style)
    apart = [abs(a - b) for a, b in zip(losses(name), losses("one"), strict=True)]
    off.plot(range(1, 7), [max(a, 1e-8) for a in apart], **style)
left.set(xlabel="step", ylabel="loss", title="losses")
left.legend(title="processes")
off.set(xlabel="step", yscale="log", ylim=(5e-9, 1e-4), title="difference from one process")
show(
    figure,
    "The losses of six steps on one, two and four processes lie on one line; the differences are "
    "around a millionth.",
)

# %% [markdown]
# ## Stopped on four, resumed on one
#
# A machine is lost, or the four are needed for something else. A checkpoint holds whole tensors,
# whoever wrote them. From the run on four processes we delete what was written after the third
# step, as if it had been killed there, and go on with one.

# %% resume
shutil.copytree(work / "four", work / "resumed")
(work / "resumed" / "model.safetensors").unlink()
for late in ("best", "step-00000006"):
    shutil.rmtree(work / "resumed" / "checkpoints" / late)
pretrain(replace(config, out=work / "resumed", resume=True), quiet=True)
torch.testing.assert_close(
    torch.tensor(losses("resumed")), torch.tensor(losses("one")), rtol=1e-5, atol=0
)
ended = [load_file(work / name / "model.safetensors") for name in ("one", "resumed")]
apart = max(float((ended[0][name] - ended[1][name]).abs().max()) for name in ended[0])
print(f"the largest difference of a weight at the end: {apart:.0e}")
assert apart < 1e-3

# %% [markdown]
# The log has six steps, three from four processes and three from one, and they are those of the
# unbroken run. On the same number of processes they would be equal to the last bit.
#
# How to start this on several machines, under SLURM, and what a thousand GPUs would give, is in the
# [guide to clusters](../docs/clusters.md).
#
# ## Exercises
#
# **1.** Micro-batches come with their sums of losses and their counts. Compute the mean loss of the
# step; a micro-batch may have no masked token at all.


# %% exercise-1
def step_loss(micro_batches: list[tuple[float, int]]) -> float:
    """Compute the mean loss over all tokens of a step, from (sum, count) of each micro-batch."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    assert step_loss([(6.0, 1), (6.0, 3)]) == 3
    assert step_loss([(6.0, 1), (0.0, 0), (2.0, 3)]) == 2
    assert step_loss([(5.0, 5), (5.0, 5)]) == 1


# %% [markdown]
# <details><summary>Hint</summary>Add up first, divide once.</details>


# %% solution-1
def step_loss(micro_batches: list[tuple[float, int]]) -> float:
    """Compute the mean loss over all tokens of a step, from (sum, count) of each micro-batch."""
    return sum(total for total, _ in micro_batches) / sum(count for _, count in micro_batches)


# %% [markdown]
# **2.** DDP averages: it adds the gradients of all processes and divides by their number. Each
# process has the gradient of its own *sum* of losses. By what number must each process multiply its
# gradient beforehand, so that the average is the right gradient?


# %% exercise-2
def factor(counts: list[int]) -> float:
    """Compute the factor of every process's gradient, from the counts of tokens of all of them."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    for counts in ([1, 3], [5, 5, 5, 5], [0, 7, 2]):
        sums = [torch.randn(n, 4).sum(0) for n in counts]
        average = torch.stack([factor(counts) * gradient for gradient in sums]).mean(0)
        torch.testing.assert_close(average, sum(sums) / sum(counts))


# %% [markdown]
# <details><summary>Hint</summary>The average divides by the number of processes; you want to divide
# by the number of tokens.</details>


# %% solution-2
def factor(counts: list[int]) -> float:
    """Compute the factor of every process's gradient, from the counts of tokens of all of them."""
    return len(counts) / sum(counts)


# %% [markdown]
# **3.** Half of the ring is a useful exchange of its own, *reduce-scatter*: FSDP uses it, since a
# process needs the sum of its own shard alone. Process $p$ of $n$ starts with a row of the
# gradients; return the rows of the sums, one shard a process, and the numbers that one process
# sends.


# %% exercise-3
def reduce_scatter(gradients: Tensor) -> tuple[Tensor, int]:
    """Give process p the sum of chunk p: (n, size) → (n, size / n), and the numbers sent by one."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    for n, size in [(2, 4), (4, 12), (3, 9)]:
        gradients = torch.randn(n, size)
        shards, sent = reduce_scatter(gradients)
        torch.testing.assert_close(shards, gradients.sum(0).view(n, size // n))
        assert sent == (n - 1) * (size // n)


# %% [markdown]
# <details><summary>Hint</summary>The first trip of the ring leaves the sum of chunk p + 1 with
# process p. What if each process begins with the chunk before?</details>


# %% solution-3
def reduce_scatter(gradients: Tensor) -> tuple[Tensor, int]:
    """Give process p the sum of chunk p: (n, size) → (n, size / n), and the numbers sent by one."""
    n, size = gradients.shape
    chunks = gradients.clone().view(n, n, size // n)
    for step in range(n - 1):
        messages = [chunks[p, (p - 1 - step) % n].clone() for p in range(n)]
        for p in range(n):
            chunks[p, (p - 2 - step) % n] += messages[(p - 1) % n]
    return torch.stack([chunks[p, p] for p in range(n)]), (n - 1) * (size // n)
