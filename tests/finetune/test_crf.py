"""The chain of tags, held against every sequence of tags, written out."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from plainformer.base import UserError
from plainformer.encoder import Sequences, TokenClassifier
from plainformer.finetune.tasks.tagging.crf import CRF, Chain, ChainTagger, Posterior
from plainformer.finetune.tasks.tagging.iob import continues
from tests.pretrain import tiny

LABELS = ("O", "B-A", "I-A", "B-B", "I-B")
LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=4)
SHORT = st.lists(st.integers(1, 4), min_size=1, max_size=3)
SEEDS = st.integers(0, 2**31)


def drawn(seed: int, lengths: list[int], num_labels: int = 3) -> tuple[Chain, torch.Tensor]:
    """A chain and emissions, in double precision."""
    torch.manual_seed(seed)
    shapes = [(num_labels,), (num_labels, num_labels), (num_labels,), (sum(lengths), num_labels)]
    start, transitions, end, x = (torch.randn(shape, dtype=torch.double) for shape in shapes)
    return Chain(start, transitions, end), x


def every(chain: Chain, x: torch.Tensor) -> dict[tuple[int, ...], float]:
    """s(x, y) of every y, by the formula."""
    n, num_labels = x.shape
    return {
        y: float(chain.start[y[0]] + chain.end[y[-1]])
        + sum(float(x[t, y[t]]) for t in range(n))
        + sum(float(chain.transitions[a, b]) for a, b in itertools.pairwise(y))
        for y in itertools.product(range(num_labels), repeat=n)
    }


@settings(max_examples=30)
@given(SEEDS, LENGTHS)
def test_sums_and_the_best_are_those_of_all_sequences(seed, lengths):
    chain, x = drawn(seed, lengths)
    sequences = Sequences.of(lengths)
    tags = torch.randint(3, (len(x),))
    partition = chain.log_partition(x, sequences)
    likelihood = chain.log_likelihood(x, tags, sequences)
    best = chain.best(x, sequences)
    posterior = Posterior.of(chain, x, sequences)
    of_tags, start = posterior.of_tags(), 0
    for number, length in enumerate(lengths):
        words = slice(start, start := start + length)
        scores = every(chain, x[words])
        total = torch.tensor(list(scores.values()), dtype=torch.double).logsumexp(0)
        assert partition[number] == pytest.approx(float(total), abs=1e-10)
        wanted = scores[tuple(tags[words].tolist())] - float(total)
        assert likelihood[number] == pytest.approx(wanted, abs=1e-10)
        assert tuple(best[words].tolist()) == max(scores, key=scores.__getitem__)
        for t, tag in enumerate(best[words].tolist()):
            chances = [float((s - total).exp()) for y, s in scores.items() if y[t] == tag]
            assert of_tags[words][t] == pytest.approx(sum(chances), abs=1e-10)


@settings(max_examples=30)
@given(SEEDS, LENGTHS)
def test_packed_is_one_by_one(seed, lengths):
    chain, x = drawn(seed, lengths)
    together = Sequences.of(lengths)
    pieces = x.split(lengths)
    alone = [Sequences.of([length]) for length in lengths]
    for name in ("alphas", "betas", "log_partition", "best"):
        one_by_one = [getattr(chain, name)(*each) for each in zip(pieces, alone, strict=True)]
        torch.testing.assert_close(getattr(chain, name)(x, together), torch.cat(one_by_one))


@settings(max_examples=30)
@given(SEEDS, LENGTHS)
def test_the_gradient_of_log_z_is_the_marginals(seed, lengths):
    chain, x = drawn(seed, lengths)
    sequences = Sequences.of(lengths)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(chain.log_partition(x, sequences).sum(), x)
    posterior = Posterior.of(chain, x.detach(), sequences)
    marginals = (posterior.alpha + posterior.beta - posterior.log_partition[:, None]).exp()
    torch.testing.assert_close(gradient, marginals)


def test_gradients_by_differences():
    chain, x = drawn(0, [3, 1, 4])
    tags = torch.randint(3, (8,))

    def likelihood(*tensors: torch.Tensor) -> torch.Tensor:
        *scores, x = tensors
        return Chain(*scores).log_likelihood(x, tags, Sequences.of([3, 1, 4]))

    tensors = (chain.start, chain.transitions, chain.end, x)
    assert torch.autograd.gradcheck(likelihood, [t.clone().requires_grad_() for t in tensors])


@settings(max_examples=15)
@given(SEEDS, SHORT)
def test_an_entity_is_as_probable_as_all_sequences_that_have_it(seed, lengths):
    """Found with exactly this extent: the sequences in which it neither differs nor goes on."""
    legal = Chain.legal(LABELS).like(torch.zeros(1, dtype=torch.double))
    drawn_chain, x = drawn(seed, lengths, len(LABELS))
    chain = Chain(
        drawn_chain.start + legal.start, drawn_chain.transitions + legal.transitions, legal.end
    )
    posterior = Posterior.of(chain, x, Sequences.of(lengths))
    can_follow = torch.tensor([[continues(tag, before) for tag in LABELS] for before in LABELS])
    start = 0
    for length in lengths:
        words = slice(start, start + length)
        scores = every(chain, x[words])
        total = torch.tensor(list(scores.values()), dtype=torch.double).logsumexp(0)
        tags = posterior.tags[words].tolist()
        for begin, end in itertools.combinations(range(length + 1), 2):
            if any(not can_follow[a, b] for a, b in itertools.pairwise(tags[begin:end])):
                continue
            wanted = sum(
                float((s - total).exp())
                for y, s in scores.items()
                if list(y[begin:end]) == tags[begin:end]
                and (end == length or not can_follow[y[end - 1], y[end]])
            )
            (found,) = posterior.of_spans([(start + begin, start + end)], can_follow)
            assert found == pytest.approx(wanted, abs=1e-10)
        start += length
    assert posterior.of_spans([], can_follow) == []


@settings(max_examples=15)
@given(SEEDS, SHORT)
def test_the_best_legal_tags_are_legal_and_the_best_of_those(seed, lengths):
    _, x = drawn(seed, lengths, len(LABELS))
    best = Chain.legal(LABELS).like(x).best(x, Sequences.of(lengths))
    free = Chain.free(len(LABELS)).like(x)
    for chosen, part in zip(best.split(lengths), x.split(lengths), strict=True):
        legal = {
            y: score
            for y, score in every(free, part).items()
            if all(
                not LABELS[b].startswith("I") or continues(LABELS[b], before)
                for before, b in zip(["O", *(LABELS[a] for a in y)], y, strict=False)
            )
        }
        assert tuple(chosen.tolist()) == max(legal, key=legal.__getitem__)


def test_what_is_forbidden_has_no_share_and_no_gradient():
    crf = CRF(LABELS)
    x = torch.randn(4, 5)
    tags = torch.tensor([1, 2, 0, 3])
    crf.chain.log_likelihood(x, tags, Sequences.of([4])).sum().backward()
    gradient = crf.transitions.grad.view(5, 5)
    assert gradient.isfinite().all()
    assert gradient[0, 2] == 0 and gradient[1, 4] == 0 and crf.start.grad[2] == 0
    assert gradient[0, 0] != 0


def test_no_words_have_no_tags():
    x = torch.zeros(0, 5)
    chain, none = Chain.legal(LABELS), Sequences.of([])
    assert len(chain.alphas(x, none)) == len(chain.best(x, none)) == 0
    assert Posterior.of(chain, x, none).of_tags() == []


@pytest.fixture
def saved(tokenizer, tmp_path) -> ChainTagger:
    model = ChainTagger(TokenClassifier(tiny.shape("bert", tokenizer), LABELS))
    for parameter in model.crf.parameters():
        torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    return model.eval()


def test_the_chain_is_saved_beside_and_restored(saved, tmp_path):
    again = ChainTagger.load(tmp_path)
    for name, tensor in saved.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    ids, sequences = torch.tensor([2, 7, 8, 3]), Sequences.of([4])
    args = (ids, None, torch.zeros_like(ids), sequences)
    assert torch.equal(again(*args), saved(*args))
    tensors = load_file(tmp_path / "crf.safetensors")
    legal = Chain.legal(LABELS).transitions
    torch.testing.assert_close(
        tensors["transitions"].view(5, 5) + legal, again.crf.chain.transitions
    )


def test_transformers_opens_the_rest(saved, tmp_path):
    from transformers import AutoModelForTokenClassification

    theirs = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    assert tuple(theirs.config.id2label.values()) == LABELS
    ids = torch.tensor([2, 7, 8, 9, 3])
    with torch.no_grad():
        logits = theirs(ids[None]).logits[0]
        ours = saved(ids, None, torch.zeros_like(ids), Sequences.of([5]))
    torch.testing.assert_close(ours, logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: tensors.pop("end"),
        lambda tensors: tensors.update(more=torch.zeros(1)),
        lambda tensors: tensors.update(start=torch.zeros(4)),
    ],
)
def test_a_chain_that_does_not_fit_is_refused(saved, tmp_path, spoil):
    path = tmp_path / "crf.safetensors"
    tensors = load_file(path)
    spoil(tensors)
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"crf.safetensors does not fit 5 labels"):
        ChainTagger.load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"crf.safetensors is missing or damaged"):
        ChainTagger.load(tmp_path)
