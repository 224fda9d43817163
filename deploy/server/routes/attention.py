"""POST /attention: where each word of a text looks, in every head of a layer."""

import json
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from plainformer.base import UserError, plural
from plainformer.deploy.server.errors import Refused
from plainformer.deploy.server.models import Models, Running
from plainformer.deploy.server.routes.body import OfModel, strict_router
from plainformer.deploy.server.routes.predict import Pair, size
from plainformer.finetune.data.batch import Item
from plainformer.finetune.prediction.attention import (
    spelling,
    token_attention,
    word_attention,
    words_of,
)

MOST_TOKENS = 128
"""Tokens of an input: an answer has heads × words² numbers."""
DECIMALS = 4


class AttentionBody(OfModel):
    """An input of the model, and a layer."""

    input: str | Pair | dict[str, Any] = Field(
        description=f"A text, a pair, or a row of the task; at most {MOST_TOKENS} tokens."
    )
    layer: int = Field(0, ge=0, description="The first layer is 0.")


class Word(BaseModel):
    """A word as the model reads it; a special token is one of its own."""

    text: str
    special: bool


class SequenceAttention(BaseModel):
    """The words of a sequence, and `weights[head][from][to]`: each row adds up to 1."""

    words: list[Word]
    weights: list[list[list[float]]]


class Attention(BaseModel):
    """The attention of a layer in each sequence of the input: an option of a choice is one."""

    model: str
    layer: int
    sequences: list[SequenceAttention]


def attention_router(models: Models) -> APIRouter:
    """Make the route."""
    router = strict_router()

    @router.post("/attention", response_model=Attention)
    async def attention(body: AttentionBody) -> Response:
        """Compute the attention between the words of an input, in one layer."""
        with models.using(body.model) as one:
            layers = one.served.num_layers
            if not layers:
                raise UserError("static vectors are looked up, and no word attends to another")
            if body.layer >= layers:
                raise UserError(
                    f"layer: the model has {plural(layers, 'layer')}, and the first is 0"
                )
            item = await one.encode(lambda: read_one(one, body.input), size(body.input))
            if item.num_tokens > MOST_TOKENS:
                raise Refused(
                    413,
                    f"{item.num_tokens:,} tokens, more than {MOST_TOKENS}: shorten the text",
                )
            return await models.aside.run(lambda: answer(one, item, body.layer))

    return router


def read_one(one: Running, given: str | list[str] | dict[str, Any]) -> Item:
    """Encode an input for the task, or a text for its vector."""
    if one.served.predictor is not None:
        return one.served.read([given])[1][0]
    if not isinstance(given, str):
        raise UserError("input: this model reads single texts")
    return one.served.read_texts([given])[0]


def answer(one: Running, item: Item, layer: int) -> Response:
    """Compute the weights of each sequence, and write them."""
    encoder, tokenizer = one.served.model.base, one.served.tokenizer
    sequences = []
    for encoding in item.encodings:
        positions = words_of(encoding)
        weights = word_attention(token_attention(encoder, encoding)[layer], positions)
        ids, special = encoding.ids, encoding.special_tokens_mask
        words = [
            {"text": spelling(tokenizer, [ids[i] for i in word]), "special": bool(special[word[0]])}
            for word in positions
        ]
        heads = weights.double().round(decimals=DECIMALS).tolist()
        # Head by head: other threads wait while numbers are written.
        written = ",".join(json.dumps(head, separators=(",", ":")) for head in heads)
        sequences.append(f'{{"words":{json.dumps(words)},"weights":[{written}]}}')
    text = f'{{"model":{json.dumps(one.name)},"layer":{layer},"sequences":[{",".join(sequences)}]}}'
    return Response(text, media_type="application/json")
