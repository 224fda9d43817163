"""POST /fill: what a masked-language model expects at each mask of a text."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from plainformer.base import UserError
from plainformer.deploy.server.errors import Refused, reply
from plainformer.deploy.server.models import Models, Running
from plainformer.deploy.server.routes.body import OfModel, strict_router
from plainformer.deploy.server.served import Served
from plainformer.encoder import MaskedLM
from plainformer.pretrain import fill_mask

MOST_TOKENS = 512
"""Tokens of a text, special ones included."""
MOST_MASKS = 16
"""Masks of a text: each is multiplied with the whole vocabulary."""


class FillBody(OfModel):
    """A text with masks, spelled as /info says."""

    text: str = Field(
        description=f"At most {MOST_TOKENS} tokens, and {MOST_MASKS} masks (`mask` of /info)."
    )
    top: int = Field(5, ge=1, le=100, description="Number of tokens for each mask.")


class Expected(BaseModel):
    """A token that may stand at a mask, as text, and its probability."""

    token: str
    text: str
    probability: float


class Fill(BaseModel):
    """The most probable tokens of each mask, in order."""

    model: str
    masks: list[list[Expected]]


def fill_router(models: Models) -> APIRouter:
    """Make the route."""
    router = strict_router()

    @router.post("/fill", response_model=Fill)
    async def fill(body: FillBody) -> Response:
        """Predict the tokens at the masks of a text."""
        with models.using(body.model, fills, "predicts masked tokens") as one:
            model = one.served.masked
            if model is None:
                raise UserError(
                    f"the model {one.name} has no head for masked tokens: name a "
                    "masked-language model"
                )
            await one.encode(lambda: check_text(one, body.text), len(body.text))
            return await models.aside.run(lambda: answer(one, model, body))

    return router


def fills(served: Served) -> bool:
    """Tell whether a model predicts masked tokens."""
    return served.masked is not None


def check_text(one: Running, text: str) -> None:
    """Raise `Refused` for too many tokens or masks."""
    tokenizer = one.served.tokenizer
    ids = tokenizer.template.encode(tokenizer.tokens(text), None).ids
    for count, what, most in (
        (len(ids), "tokens", MOST_TOKENS),
        (ids.count(tokenizer.mask_id), "masks", MOST_MASKS),
    ):
        if count > most:
            raise Refused(413, f"{count:,} {what}, more than {most}: shorten the text")


def answer(one: Running, model: MaskedLM, body: FillBody) -> Response:
    """Predict the tokens, and write them."""
    tokenizer = one.served.tokenizer
    masks = [
        [
            {
                "token": guess.token,
                "text": tokenizer.decode([tokenizer.id(guess.token)], skip_special_tokens=False),
                "probability": round(guess.probability, 6),
            }
            for guess in guesses
        ]
        for guesses in fill_mask(model, tokenizer, body.text, body.top)
    ]
    return reply({"model": one.name, "masks": masks})
