"""Guesses are transformers' softmax at [MASK]."""

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import MaskedLM
from plainformer.pretrain import fill_mask
from tests.pretrain import tiny

TEXT = "the [MASK] cat eats the red [MASK] ."


@pytest.fixture(params=["bert", "modern"])
def model(request, wordpiece) -> MaskedLM:
    torch.manual_seed(2)
    model = MaskedLM(tiny.shape(request.param, wordpiece)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # far from uniform
    return model


def test_guesses_equal_transformers(model, wordpiece, tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    model.save_pretrained(tmp_path)
    wordpiece.save(tmp_path)
    inputs = AutoTokenizer.from_pretrained(tmp_path)(TEXT, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForMaskedLM.from_pretrained(tmp_path)(**inputs).logits[0]
    at = inputs["input_ids"][0] == wordpiece.mask_id
    wanted = logits[at].softmax(-1)
    found = fill_mask(model, wordpiece, TEXT, top=wordpiece.vocab_size)
    assert len(found) == 2
    for guesses, row in zip(found, wanted, strict=True):
        values = [guess.probability for guess in guesses]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=1e-5)
        for guess in guesses:
            assert guess.probability == pytest.approx(row[wordpiece.id(guess.token)].item(), 1e-4)


def test_as_many_guesses_as_asked(model, wordpiece):
    assert [len(guesses) for guesses in fill_mask(model, wordpiece, TEXT, top=3)] == [3, 3]
    assert len(fill_mask(model, wordpiece, TEXT, top=10**6)[0]) == wordpiece.vocab_size
    with pytest.raises(UserError, match="top must be at least 1"):
        fill_mask(model, wordpiece, TEXT, top=0)


def test_a_text_without_a_mask_is_refused(model, wordpiece):
    with pytest.raises(UserError, match=r"no \[MASK\] in 'the cat'"):
        fill_mask(model, wordpiece, "the cat")


def test_what_is_no_token_is_never_guessed(wordpiece):
    """A vocabulary padded to a round number, whose spare rows the model likes best."""
    shape = tiny.replace(tiny.shape("modern", wordpiece), vocab_size=wordpiece.vocab_size + 4)
    model = MaskedLM(shape).eval()
    with torch.no_grad():
        model.bias[wordpiece.vocab_size :] = 9.0
    (guesses,) = fill_mask(model, wordpiece, "the [MASK]")
    assert len(guesses) == 5 and sum(guess.probability for guess in guesses) < 0.1


def test_a_foreign_tokenizer_is_refused(wordpiece, tokenizers):
    model = MaskedLM(tiny.shape("modern", wordpiece))
    with pytest.raises(UserError, match="do not belong together"):
        fill_mask(model, tokenizers["bpe"], "the [MASK]")


@pytest.mark.parametrize(("words", "longer"), [(61, False), (62, True), (3000, True)])
def test_no_mask_is_lost_of_a_text_that_is_too_long(model, wordpiece, words, longer):
    """The model takes 64 tokens, of which [CLS], [MASK] and [SEP] are three."""
    text = "the " * words + "[MASK]"
    if not longer:
        assert len(fill_mask(model, wordpiece, text)) == 1
        return
    for given in (text, "[MASK] " + text, "[MASK]" + " the" * words):
        with pytest.raises(UserError, match="more than the 64 tokens that the model takes"):
            fill_mask(model, wordpiece, given)
