# %% [markdown]
# # The encoder
#
# The pieces are known: tokens, vectors, attention, norms. Here they become one machine. First we
# follow three questions through a forward pass, and write down the shape at each step. Then we
# count what the machine has (parameters) and does (operations). Last, we set it against four other
# kinds of network of equal size, and see where it wins and where it loses.

# %% setup
from collections import Counter
from collections.abc import Callable

import torch
from guide import BLUE, GREY, ORANGE, check, claim, panel, panels, show
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from plainformer.corpora import Row, fetch, read_rows
from plainformer.encoder import (
    AttentionMask,
    Encoder,
    EncoderConfig,
    Packing,
    PaddedSequences,
    use_backend,
)
from plainformer.tokenizer import train_tokenizer

torch.manual_seed(0)
close = torch.testing.assert_close

# %% [markdown]
# ## From text to one row of tokens
#
# The texts are real questions, from the TREC collection. A WordPiece vocabulary is
# [learned from them](01_pieces.py).

# %% tokenizer
folder = fetch("trec")
questions = list(read_rows(folder / "train.jsonl"))
tokenizer = train_tokenizer((str(row.fields["text"]) for row in questions), vocab_size=2000)
texts = ["Who wrote Hamlet ?", "What is the capital of France ?", "How far is the moon ?"]
batch = tokenizer.batch(texts)
for name, tensor in batch.items():
    print(f"{name:15} {tuple(tensor.shape)}")
for ids in batch["input_ids"].tolist():
    print(" ".join(map(tokenizer.token, ids)))

# %% [markdown]
# The tokenizer gives three tables of the same shape, (batch, seq): the ids, the mask that is 1 on
# real tokens, and the [type id](01_pieces.py) of each token, called its *segment* here. The shorter
# questions end in padding.
#
# [Packing](03_attention.py) removes it: the real tokens of all questions stand in one row, the
# shortest question first.

# %% packing
packing = Packing.of(batch["attention_mask"])
sequences = packing.sequences
ids, segments = packing.pack(batch["input_ids"]), packing.pack(batch["token_type_ids"])
print("lengths  ", sequences.lengths)
print("bounds   ", sequences.cu_seqlens.tolist())
print("positions", sequences.positions.tolist())
assert len(ids) == sum(sequences.lengths) == int(batch["attention_mask"].sum())

# %% [markdown]
# ## From tokens to vectors
#
# The model is small: two blocks, vectors of 128 numbers. Its weights are random: shapes do not
# depend on what a model has learned.

# %% model
config = EncoderConfig.preset("bert-tiny", vocab_size=tokenizer.vocab_size)
model = Encoder(config).eval()
x = model.embed(ids, segments, sequences)
print(tuple(ids.shape), "→", tuple(x.shape))

# %% [markdown]
# `embed` is a sum of three [look-ups](02_vectors.py), and a norm: the vector of the token, of its
# position, and of its segment.

# %% embeddings-by-hand
table = model.embeddings
parts = [
    table.tokens.weight[ids],
    table.positions.weight[sequences.positions],
    table.segments.weight[segments],
]
close(table.norm(sum(parts)), x)

# %% [markdown]
# ## Through the blocks
#
# A block takes `(tokens, hidden)` and gives `(tokens, hidden)`. Inside, attention mixes the tokens
# of a question, and the feed-forward layer treats each token alone; it is four times as wide in the
# middle. Each result is [added to its input, and normalised](04_norms.py).

# %% a-block
block, mask = model.blocks[0], AttentionMask(sequences)
attended, weights = block.attention(x, mask, output_attentions=True)
middle = block.attention_norm(x + attended)
wide = block.feed_forward.up(middle)
after = block.feed_forward_norm(middle + block.feed_forward.down(block.feed_forward.act(wide)))
shapes = {"input": x, "attention weights": weights, "attended": attended, "wide": wide}
for name, tensor in {**shapes, "output": after}.items():
    print(f"{name:17} {tuple(tensor.shape)}")
close(after, block(x, mask)[0], atol=1e-5, rtol=1e-4)

# %% [markdown]
# The function `act` in the middle is the layer's *activation function*. BERT has GELU, with
# $\Phi(x)$ the probability that a standard normal random number is below $x$:
#
# $$\text{GELU}(x) = x \, \Phi(x)$$
#
# Large numbers pass as they are, and negative ones become nearly 0. Without such a function the two
# matrices would be no more than one, their product.

# %% activation
numbers = torch.linspace(-4, 4, 9)
probability = torch.distributions.Normal(0, 1).cdf(numbers)
close(block.feed_forward.act(numbers), numbers * probability)
print([round(y, 2) for y in (numbers * probability).tolist()])

# %% [markdown]
# The attention weights are (questions, heads, queries, keys); all else is a row of tokens.
# `run_blocks` calls one block after the other. What stands between two blocks is a *hidden state*;
# they can all be kept.

# %% all-blocks
states = model.run_blocks(x, sequences, output_hidden_states=True).hidden_states
assert len(states) == 1 + config.num_hidden_layers
for number, state in enumerate(states):
    print(f"hidden state {number}: {tuple(state.shape)}")
close(states[0], x)
close(states[1], after, atol=1e-5, rtol=1e-4)

# %% [markdown]
# At the exit, unpacking puts every vector back into its row, and zeros on the padding. The steps
# together are what the model does when it is called. Its result, `last_hidden_state`, holds one
# vector for each token.

# %% unpacking
last = packing.unpack(states[-1])
print(tuple(states[-1].shape), "→", tuple(last.shape))
close(last, model(**batch).last_hidden_state)
assert not last[batch["attention_mask"] == 0].any()

# %% [markdown]
# ## Which vectors does a change reach?
#
# We replace one word, "France", and ask at each stage which vectors are no longer what they were.

# %% change
changed = ids.clone()
place = ids.tolist().index(tokenizer.id("france"))
changed[place] = tokenizer.id("england")
others = model.run_blocks(
    model.embed(changed, segments, sequences), sequences, output_hidden_states=True
).hidden_states
difference = torch.stack([(a - b).norm(dim=1) for a, b in zip(states, others, strict=True)])
touched = difference > 1e-4
print(touched.sum(1).tolist(), "vectors have changed, of", len(ids))
assert touched.sum(1).tolist() == [1] + [max(sequences.lengths)] * config.num_hidden_layers

# %% change-picture
figure, axes = panel(7.5, 2.8)
axes.grid(False)
image = axes.imshow(difference.detach().log10().clamp(-4), cmap="viridis", aspect="auto")
axes.set_xticks(range(len(ids)), [tokenizer.token(i) for i in ids.tolist()], rotation=70)
axes.set_yticks(range(3), ["embeddings", "block 1", "block 2"])
for bound in sequences.cu_seqlens.tolist()[1:-1]:
    axes.axvline(bound - 0.5, color="white", linewidth=3)
figure.colorbar(image, label="change, power of 10")
show(
    figure,
    "A table of three stages by all tokens in one row. At the embeddings only the replaced word is "
    "bright; after each block all tokens of its question are, and those of the others stay dark.",
)

# %% [markdown]
# At the embeddings one vector has changed. After a single block the change has reached all tokens
# of that question, however far away they stand. The other two questions stand in the same row, and
# are untouched.
#
# ## What the machine has: parameters
#
# A *parameter* is a number that training may change. With $h$ the hidden size, $i$ the width of the
# feed-forward layer, $v$ tokens in the vocabulary, $p$ positions and two segments, one block has
# four matrices of attention, two of the feed-forward layer, their biases and two norms:
#
# $$ 4 h^2 + 4 h + 2 h i + i + h + 4 h $$
#
# and the embeddings have $(v + p + 2) h + 2 h$. BERT adds a last matrix for the
# first token, the [pooler](07_bert.py), with $h^2 + h$.


# %% parameters
def count_parameters(config: EncoderConfig) -> dict[str, int]:
    """Count the parameters of each part of a BERT."""
    h, i, v = config.hidden_size, config.intermediate_size, config.vocab_size
    layers, p = config.num_hidden_layers, config.max_position_embeddings
    return {
        "embeddings": (v + p + 2) * h + 2 * h,
        "attention": layers * (4 * h**2 + 4 * h),
        "feed-forward": layers * (2 * h * i + i + h),
        "norms": layers * 4 * h,
        "pooler": h**2 + h,
    }


assert sum(count_parameters(config).values()) == model.num_parameters()
base = count_parameters(EncoderConfig.preset("bert-base"))
with torch.device("meta"):  # shapes without memory
    bert_base = Encoder(EncoderConfig.preset("bert-base"))
assert sum(base.values()) == bert_base.num_parameters() == 109_482_240
for name, number in base.items():
    print(f"{name:13} {number:12,} {number / sum(base.values()):6.1%}")
claim(100 * base["feed-forward"] / sum(base.values()), "52 %", within=0.5)
claim(100 * base["embeddings"] / sum(base.values()), "22 %", within=0.5)

# %% [markdown]
# BERT-base has 109 million parameters. Over half of them, 52 %, are in the feed-forward layers,
# which never look at another token; 22 % are the tables of tokens, positions and segments.
#
# ## What the machine does: operations
#
# A number of a matrix takes part in one multiplication and one addition for each token: two
# *floating-point operations* (FLOPs). Attention adds, for each pair of a query and a key, $2h$ for
# the score and $2h$ for the value. In a text of $n$ tokens each token has $n$ such pairs, so one
# token costs
#
# $$ \text{layers} \cdot ( 2 (4 h^2 + 2 h i) + 4 h n ) $$
#
# The library counts so, too. torch can watch the products that really run, and comes to the same
# number.


# %% operations
def count_operations(config: EncoderConfig, n: int) -> int:
    """Count the operations of a forward pass for each token of a text of `n` tokens."""
    h, i = config.hidden_size, config.intermediate_size
    return config.num_hidden_layers * (2 * (4 * h**2 + 2 * h * i) + 4 * h * n)


bare = Encoder(config, pooler=False).eval()
with FlopCounterMode(display=False) as counter, use_backend("plain"):
    bare(torch.randint(5, 2000, (1, 100)))
by_torch = counter.get_total_flops() / 100
assert count_operations(config, 100) == model.flops_per_token(100) == by_torch
print(f"{count_operations(config, 100):,} operations a token")

# %% operations-picture
lengths = [2**k for k in range(4, 14)]
matrices = bert_base.flops_per_token(1) - 4 * 768 * 12
total = torch.tensor([bert_base.flops_per_token(n) for n in lengths])
figure, axes = panel(5.5, 3.2)
axes.plot(lengths, total / 1e6, color=BLUE, marker="o", label="all")
axes.plot(
    lengths, (total - matrices) / 1e6, color=ORANGE, linestyle="--", label="attention's pairs"
)
axes.set(xscale="log", yscale="log", xlabel="tokens in the text", ylabel="million FLOPs a token")
axes.legend()
show(
    figure,
    "Operations of BERT-base for each token, by the length of the text: flat up to about a "
    "thousand tokens, then rising with the pairs of attention, a straight line.",
)
claim(100 * float((total - matrices)[5] / total[5]), "10 %", within=1)
assert lengths[5] == 512

# %% [markdown]
# For BERT-base and a text of 512 tokens, the pairs are 10 % of the work; the rest are the matrices,
# whatever the length. Length becomes the burden only in texts of thousands of tokens.
#
# ## Four rivals of equal size
#
# Before the Transformer, networks read text mostly in two other ways.
#
# - A *recurrent network* (RNN) goes from token to token and carries a state along:
#   $h_t = \tanh(W x_t + U h_{t-1})$. Whatever it needs later must survive all steps between.
#   The *LSTM* and the *GRU* have gates, numbers between 0 and 1 that say what part of the state
#   to keep, so that it survives longer.
# - A *convolutional network* (CNN) computes each vector from a few neighbours. With each layer it
#   sees further: its *receptive field* grows.
#
# The formula of the plain network, with a bias for each product, step by step beside torch's own:

# %% recurrent-by-hand
rnn = nn.RNN(8, 5, batch_first=True)
steps = torch.randn(1, 6, 8)
state, by_hand = torch.zeros(1, 5), []
for step in steps.unbind(1):
    state = torch.tanh(
        step @ rnn.weight_ih_l0.T + rnn.bias_ih_l0 + state @ rnn.weight_hh_l0.T + rnn.bias_hh_l0
    )
    by_hand.append(state)
close(torch.stack(by_hand, dim=1), rnn(steps)[0])

# %% [markdown]
# All five get the same embeddings, those of our encoder; only what follows differs. None uses
# *dropout*, which sets numbers to 0 at random during training, so that a model does not rely on
# single ones. The recurrent ones read in both directions. The CNN has four layers, each of which
# reads a token and its two neighbours, so it sees four tokens to each side.

# %% rivals
SIZE = 64


def make_encoder(vocab_size: int) -> Encoder:
    """Make a small encoder: two blocks, pre-norm, rotary positions."""
    config = EncoderConfig(
        vocab_size=vocab_size,
        hidden_size=SIZE,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=4 * SIZE,
        type_vocab_size=0,
        positions="rotary",
        norm_order="pre",
        initializer_range=0.07,
    )
    return Encoder(config, dropout=0.0, pooler=False)


class Recurrent(nn.Module):
    """A recurrent network of some kind, in both directions."""

    def __init__(self, kind: type[nn.RNNBase], width: int) -> None:
        super().__init__()
        self.layers, self.width = kind(SIZE, width, bidirectional=True, batch_first=True), 2 * width

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[0]


class Convolutional(nn.Module):
    """Four convolutions over a token and its two neighbours, each but the first residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [SIZE, width, width, width]
        self.layers = nn.ModuleList(nn.Conv1d(size, width, 3, padding=1) for size in sizes)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x.transpose(1, 2)).relu()
        for layer in self.layers[1:]:
            x = x + layer(x).relu()
        return x.transpose(1, 2)


# %% [markdown]
# A network is embeddings, a body, and a linear layer (one matrix and a bias) that scores the
# classes at every token.


# %% network
class Network(nn.Module):
    """Embeddings, a body and scores; id 0 is padding."""

    def __init__(self, vocab_size: int, classes: int, body: nn.Module | None) -> None:
        super().__init__()
        encoder = make_encoder(vocab_size)
        self.embeddings = encoder if body is None else encoder.embeddings
        self.body = body
        self.score = nn.Linear(SIZE if body is None else body.width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        if self.body is None:
            return self.score(self.embeddings(ids, ids != 0).last_hidden_state)
        return self.score(self.body(self.embeddings(ids, None, PaddedSequences(ids != 0))))


def size(network: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


# %% [markdown]
# The width of each rival is the one whose number of parameters is nearest to the encoder's.

# %% equal-size
BODIES: dict[str, Callable[[int], nn.Module] | None] = {
    "encoder": None,
    "LSTM": lambda width: Recurrent(nn.LSTM, width),
    "GRU": lambda width: Recurrent(nn.GRU, width),
    "RNN": lambda width: Recurrent(nn.RNN, width),
    "CNN": Convolutional,
}
target = size(make_encoder(2).blocks)
WIDTHS = {
    name: min(range(16, 256, 4), key=lambda width: abs(size(make(width)) - target))
    for name, make in BODIES.items()
    if make is not None
}


def make_network(name: str, vocab_size: int, classes: int) -> Network:
    """Make the network of that name, with the same seed for all."""
    torch.manual_seed(0)
    make = BODIES[name]
    return Network(vocab_size, classes, None if make is None else make(WIDTHS[name]))


sizes = {name: size(make_network(name, 17, 2)) for name in BODIES}
print(sizes)
assert max(sizes.values()) / min(sizes.values()) < 1.04

# %% [markdown]
# Training is the same for all, and as in [the last chapter](04_norms.py): each step draws a batch,
# computes the loss and its gradient, and lets the optimizer, here AdamW, a variant of Adam, take a
# small step. The share of right answers is the *accuracy*; in the first two tasks every batch is
# new, so its accuracy is an honest measure.

# %% training
Batch = tuple[Tensor, Tensor]


def train(network: nn.Module, draw: Callable[[torch.Generator], Batch], steps: int) -> list[float]:
    """Train a network; return the accuracy on the batch of each step, before the step."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    generator, accuracies = torch.Generator().manual_seed(1), []
    for step in range(steps):
        rate = 3e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps)  # warm-up, then down to 0
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, labels = draw(generator)
        scores = network(ids).flatten(0, -2)
        loss = nn.functional.cross_entropy(scores, labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)  # a longer gradient is shortened to 1
        optimizer.step()
        accuracies.append(float((scores.argmax(1) == labels.flatten()).float().mean()))
    return accuracies


# %% [markdown]
# ## First task: find the partner
#
# Eight kinds of cards, two of each, are laid in random order. Each card shows red or black. For
# each card, say the colour of its partner. Chance is one half. To answer, a network has to relate
# two places that may be 1 or 15 cards apart.


# %% pairs
def draw_pairs(generator: torch.Generator, count: int = 32, kinds: int = 8) -> Batch:
    """Draw rows of cards: ids from 1, and the colour of each card's partner."""
    order = torch.rand(count, 2 * kinds, generator=generator).argsort(1)
    kind, colour = order % kinds, torch.randint(0, 2, order.shape, generator=generator)
    return 1 + 2 * kind + colour, colour.gather(1, partners(kind))


def partners(kind: Tensor) -> Tensor:
    """Find the position of the other card of the same kind."""
    same = kind[:, :, None] == kind[:, None, :]
    return (same & ~torch.eye(kind.shape[1], dtype=torch.bool)).int().argmax(2)


ids, answers = draw_pairs(torch.Generator().manual_seed(3), count=1, kinds=3)
print(
    "cards  ", [f"{'ABC'[(i - 1) // 2]}-{('red', 'black')[(i - 1) % 2]}" for i in ids[0].tolist()]
)
print("answers", [("red", "black")[a] for a in answers[0].tolist()])

# %% train-pairs
networks = {name: make_network(name, 17, 2) for name in BODIES}
curves = {name: train(network, draw_pairs, 160) for name, network in networks.items()}
ids, answers = draw_pairs(torch.Generator().manual_seed(9), count=256)
kind = (ids - 1) // 2
distance = (partners(kind) - torch.arange(16)).abs()
with torch.no_grad():
    right = {name: network(ids).argmax(-1) == answers for name, network in networks.items()}
by_distance = {
    name: [float(r[distance == d].float().mean()) for d in range(1, 13)]
    for name, r in right.items()
}
for name, r in right.items():
    print(f"{name:8} {float(r.float().mean()):.2f}")

# %% pairs-picture
STYLES = {
    "encoder": (BLUE, "-", "o"),
    "LSTM": (ORANGE, "-", "s"),
    "GRU": (ORANGE, "--", "^"),
    "RNN": (GREY, "-", "v"),
    "CNN": ("black", ":", "D"),
}
figure, (left, far) = panels(2, 4.4, 3.4)
for name, (colour, line, marker) in STYLES.items():
    smooth = torch.tensor(curves[name]).unfold(0, 10, 5).mean(1)
    style = {"color": colour, "linestyle": line, "marker": marker, "markersize": 4, "label": name}
    left.plot(range(10, 161, 5), smooth, **style)
    far.plot(range(1, 13), by_distance[name], **style)
left.set(xlabel="step", ylabel="accuracy", ylim=(0.4, 1.03), title="while training")
far.set(xlabel="distance of the partner", ylim=(0.4, 1.03), title="after training")
left.legend(ncols=2, loc="upper right", bbox_to_anchor=(1.0, 0.95))
show(
    figure,
    "Two panels of accuracy. While training, the encoder rises to 1 within about 60 of 160 steps, "
    "LSTM and GRU rise later and are not done, RNN and CNN stay low. After training, by distance: "
    "the encoder is at 1 everywhere, the CNN only at distances 1 and 2, then at one half.",
)

# %% pairs-claims
score = {name: float(r.float().mean()) for name, r in right.items()}
assert score["encoder"] > 0.99
gated = score["LSTM"], score["GRU"]
assert min(gated) > 0.65
assert max(gated) < 0.97
assert score["RNN"] < 0.7
assert by_distance["CNN"][0] > 0.9
claim(sum(by_distance["CNN"][5:]) / 7, "0.50", within=0.06)

# %% [markdown]
# For attention this game is child's play: a card's query finds the key of the same kind at any
# distance, in one step. LSTM and GRU are on the way. They can learn it, and with more steps they
# do; but each pair has to be carried through the state, card by card. The plain RNN hardly
# begins. The CNN knows near partners, and beyond its receptive field it guesses: 0.50.
#
# ## Second task: count along
#
# Now the row is 24 random bits. At each place, say whether the number of ones so far is odd.


# %% parity
def draw_parity(generator: torch.Generator, count: int = 32, length: int = 24) -> Batch:
    """Draw rows of bits as ids 1 and 2, and the parity of the ones up to each place."""
    bits = torch.randint(0, 2, (count, length), generator=generator)
    return 1 + bits, bits.cumsum(1) % 2


counters = {name: make_network(name, 3, 2) for name in BODIES}
for network in counters.values():
    train(network, draw_parity, 100)
ids, answers = draw_parity(torch.Generator().manual_seed(9), count=1000)
with torch.no_grad():
    parity = {
        name: (net(ids).argmax(-1) == answers).float().mean(0) for name, net in counters.items()
    }

# %% parity-picture
figure, axes = panel(5.5, 3.4)
for name, (colour, line, marker) in STYLES.items():
    style = {"color": colour, "linestyle": line, "marker": marker, "markersize": 4, "label": name}
    axes.plot(range(1, 25), parity[name], **style)
axes.set(xlabel="position", ylabel="accuracy", ylim=(0.4, 1.03))
axes.legend(ncols=2)
show(
    figure,
    "Accuracy of the running parity by position: LSTM and GRU are at 1 everywhere; the encoder, "
    "the RNN and the CNN begin at 1 and are near one half from about the sixth position on.",
)
assert min(parity["LSTM"].min(), parity["GRU"].min()) > 0.97
claim(float(parity["encoder"][12:].mean()), "0.50", within=0.06)
assert float(parity["CNN"][:3].mean()) > 0.95
claim(float(parity["CNN"][12:].mean()), "0.50", within=0.06)

# %% [markdown]
# The picture is reversed. For a network with a state the task is one bit, flipped at each one: LSTM
# and GRU are right at every place. The plain RNN could hold the bit as well, but has not found out
# how in 100 steps. The encoder must look at all places at once and find that all that matters is
# whether a sum is odd; in the second half of the row it guesses: 0.50. So does the CNN, 0.50. No
# network is best at everything: each learns easily what its structure suggests. That is called its
# *inductive bias*.
#
# ## Third task: real questions
#
# Last, real text: six kinds of question, by what they ask for (a person, a place, a number …). The
# score of a question is the mean of the scores of its tokens.

# %% trec
labels = sorted({str(row.fields["label"]) for row in questions})
print(Counter(str(row.fields["label"]) for row in questions).most_common())


def as_tensors(rows: list[Row]) -> Batch:
    """Turn questions into ids, at most 24, and labels."""
    texts = [str(row.fields["text"]) for row in rows]
    ids = tokenizer.batch(texts, max_length=24)["input_ids"]
    return ids, torch.tensor([labels.index(str(row.fields["label"])) for row in rows])


train_ids, train_labels = as_tensors(questions)
test_ids, test_labels = as_tensors(list(read_rows(folder / "test.jsonl")))


class MeanScore(nn.Module):
    """Score a text by the mean score of its tokens."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        is_token = (ids != 0)[..., None]
        return (self.network(ids) * is_token).sum(1) / is_token.sum(1)


def draw_questions(generator: torch.Generator) -> Batch:
    """Draw 32 questions, padded to the longest."""
    chosen = torch.randint(0, len(train_ids), (32,), generator=generator)
    ids = train_ids[chosen]
    return ids[:, : int((ids != 0).sum(1).max())], train_labels[chosen]


# %% train-trec
accuracy = {}
for name in BODIES:
    reader = MeanScore(make_network(name, tokenizer.vocab_size, len(labels)))
    train(reader, draw_questions, 100)
    with torch.no_grad():
        accuracy[name] = float((reader(test_ids).argmax(1) == test_labels).float().mean())
    print(f"{name:8} {accuracy[name]:.2f}")
assert 0.6 < min(accuracy.values()) < max(accuracy.values()) < 0.82
assert max(accuracy.values()) - min(accuracy.values()) < 0.12

# %% [markdown]
# About seven in ten are right, whoever reads. The five lie close together, and after a single run
# of each their order says nothing. The questions are short, their first words say most, and there
# are few of them: here structure matters little, and the encoder has no advantage.
#
# So why did the encoder win? Because it can be trained on much more text: all positions are
# computed at once, not one after the other, and what it learns there has turned out to matter more
# than such structure. [Learning without labels](06_pretraining.py) is the next chapter.
#
# ## Exercises
#
# **1.** How many parameters has an LSTM? It has three gates and the new content, which torch counts
# as a fourth gate; each has a matrix for the input, one for the state, and two biases.


# %% exercise-1
def lstm_parameters(inputs: int, width: int, directions: int) -> int:
    """Count the parameters of one layer of an LSTM."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    for inputs, width, both in [(64, 84, True), (10, 3, False), (7, 7, True)]:
        layer = nn.LSTM(inputs, width, bidirectional=both)
        assert lstm_parameters(inputs, width, 1 + both) == size(layer)


# %% [markdown]
# <details><summary>Hint</summary>One gate has width × inputs + width × width + 2 × width
# numbers.</details>


# %% solution-1
def lstm_parameters(inputs: int, width: int, directions: int) -> int:
    """Count the parameters of one layer of an LSTM."""
    return directions * 4 * (width * inputs + width * width + 2 * width)


# %% [markdown]
# **2.** A convolution may skip: with *dilation* $d$ it reads the tokens $d$ to the left and right.
# How far to each side does a stack of convolutions over three tokens see? Return the reach. (With
# 1, 2, 4, 8 the CNN would see all of the cards.)


# %% exercise-2
def reach(dilations: list[int]) -> int:
    """Compute how many positions to each side a stack of convolutions sees."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    for dilations in [[1], [1, 1, 1, 1], [1, 2, 4, 8], [3, 5]]:
        x = torch.zeros(1, 1, 101)
        x[0, 0, 50] = 1
        for dilation in dilations:
            x = nn.functional.conv1d(x, torch.ones(1, 1, 3), padding=dilation, dilation=dilation)
        seen = x[0, 0].nonzero()
        assert reach(dilations) == 50 - int(seen.min())


# %% [markdown]
# <details><summary>Hint</summary>Each layer lets one more step be taken, of its
# dilation.</details>


# %% solution-2
def reach(dilations: list[int]) -> int:
    """Compute how many positions to each side a stack of convolutions sees."""
    return sum(dilations)


# %% [markdown]
# **3.** From which length on does attention's part of the operations outweigh the matrices? Return
# the smallest $n$ at which it is larger, for any sizes of a BERT.


# %% exercise-3
def burden(config: EncoderConfig) -> int:
    """Find the smallest length at which the pairs cost more than the matrices."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    for name in ("bert-tiny", "bert-base"):
        config = EncoderConfig.preset(name)
        n = burden(config)
        pairs = 4 * config.hidden_size * config.num_hidden_layers
        matrices = count_operations(config, 0)
        assert n * pairs > matrices >= (n - 1) * pairs
    odd = EncoderConfig.preset("bert-tiny", intermediate_size=99)
    assert burden(odd) == 2 * 128 + 99 + 1


# %% [markdown]
# <details><summary>Hint</summary>Solve 4 h n > 2 (4 h² + 2 h i) for n. The layers cancel.</details>


# %% solution-3
def burden(config: EncoderConfig) -> int:
    """Find the smallest length at which the pairs cost more than the matrices."""
    return 2 * config.hidden_size + config.intermediate_size + 1
