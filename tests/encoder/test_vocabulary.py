"""A vocabulary that grew: new rows are means, and nothing else has moved."""

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import MaskedLM, PairedMaskedLM, extend_vocabulary
from tests.encoder.families import inputs, pair
from tests.encoder.tools import VOCAB, assert_close, bert, modern, padded, randomise

PIECES = [[7, 9], [11], [5, 6, 7, 5]]


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "distilbert", "modernbert"])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_transformers_resized_by_the_same_rule(family, tied, tmp_path):
    theirs, ours = pair(family, "MaskedLM", tmp_path, tie_word_embeddings=tied)
    extend_vocabulary(ours, VOCAB, PIECES)

    theirs.resize_token_embeddings(VOCAB + len(PIECES), mean_resizing=False)
    decoder = theirs.get_output_embeddings()
    with torch.no_grad():
        for rows in {theirs.get_input_embeddings().weight, decoder.weight, decoder.bias}:
            for row, pieces in enumerate(PIECES, start=VOCAB):
                rows[row] = rows[pieces].mean(0)
    batch = inputs(family)
    batch["input_ids"][0, 2:5] = torch.arange(VOCAB, VOCAB + 3)
    with torch.no_grad():
        found, expected = ours(**batch), theirs(**batch).logits
    there = batch["attention_mask"].bool()
    assert found.shape[-1] == VOCAB + 3
    assert_close(found[there], expected[there], 1e-5)


@pytest.mark.parametrize("model", [MaskedLM, PairedMaskedLM])
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}])
def test_text_without_new_tokens_is_read_as_before(model, changes, tmp_path):
    before, after = (randomise(model(bert(**changes))) for _ in range(2))
    extend_vocabulary(after, VOCAB, PIECES)
    batch = padded([12, 5])
    with torch.no_grad():
        a, b = (m.encoder(**batch).last_hidden_state for m in (before, after))
        scores = [m(**batch) if model is MaskedLM else m(**batch)[0] for m in (before, after)]
    assert torch.equal(a, b)
    assert torch.equal(scores[0], scores[1][..., :VOCAB])
    means = torch.stack([scores[0][..., ids].mean(-1) for ids in PIECES], dim=-1)
    assert_close(scores[1][..., VOCAB:], means, 1e-5)
    assert after.config.vocab_size == after.encoder.config.vocab_size == VOCAB + 3
    after.save_pretrained(tmp_path)
    again = model.from_pretrained(tmp_path)
    assert again.state_dict().keys() == after.state_dict().keys()
    for name, tensor in after.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_rows_of_a_padded_vocabulary_are_used_first():
    before, after = (randomise(MaskedLM(modern())) for _ in range(2))
    extend_vocabulary(after, VOCAB - 5, PIECES)
    rows, grown = before.encoder.embeddings.tokens.weight, after.encoder.embeddings.tokens.weight
    assert after.config.vocab_size == VOCAB
    assert torch.equal(grown[: VOCAB - 5], rows[: VOCAB - 5])
    assert torch.equal(grown[VOCAB - 5], rows[PIECES[0]].mean(0))
    assert torch.equal(grown[VOCAB - 2 :], rows[VOCAB - 2 :])


def test_a_token_without_pieces_is_refused():
    model = MaskedLM(bert())
    with pytest.raises(UserError, match=f"token {VOCAB + 1} has no pieces"):
        extend_vocabulary(model, VOCAB, [[5], []])
    assert model.config.vocab_size == VOCAB


def test_a_frozen_table_stays_frozen():
    model = MaskedLM(bert())
    model.encoder.requires_grad_(False)
    extend_vocabulary(model, VOCAB, PIECES)
    assert not model.encoder.embeddings.tokens.weight.requires_grad
    assert model.bias.requires_grad


def test_new_rows_learn():
    model = randomise(MaskedLM(bert()))
    extend_vocabulary(model, VOCAB, PIECES)
    ids = torch.tensor([[5, VOCAB, VOCAB + 1, 6]])
    torch.nn.functional.cross_entropy(model(ids)[0], ids[0]).backward()
    assert (model.encoder.embeddings.tokens.weight.grad[VOCAB:] != 0).any(1).tolist() == [1, 1, 1]
    assert model.bias.grad.shape == (VOCAB + 3,)
