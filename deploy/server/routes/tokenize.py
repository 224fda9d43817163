"""POST /tokenize: the tokens of texts, with their places in the text."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from plainformer.deploy.server.errors import reply
from plainformer.deploy.server.models import Models
from plainformer.deploy.server.routes.body import OfModel, Texts, strict_router
from plainformer.deploy.server.routes.embed import as_texts
from plainformer.tokenizer import Tokenizer


class TokenizeBody(OfModel):
    """A text, or several."""

    inputs: Texts
    add_special_tokens: bool = Field(True, description="Add those that the model reads.")


class Token(BaseModel):
    """A token, its first character, the one after its last, and the number of its word.

    These are null for a special token.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None
    word: int | None


def tokenize_router(models: Models) -> APIRouter:
    """Make the route."""
    router = strict_router()

    @router.post("/tokenize", response_model=list[list[Token]])
    async def tokenize(body: TokenizeBody) -> Response:
        """Split each text into tokens; none is cut off."""
        texts = as_texts(body.inputs)
        models.limits.check_texts(len(texts))
        with models.using(body.model) as one:

            def encode() -> list[list[dict[str, object]]]:
                tokenizer = one.served.tokenizer
                return [tokens_of(tokenizer, text, body.add_special_tokens) for text in texts]

            found = await one.encode(encode, sum(map(len, texts)))
            models.limits.check_tokens(sum(map(len, found)))
            return reply(found)

    return router


def tokens_of(tokenizer: Tokenizer, text: str, with_special: bool) -> list[dict[str, object]]:
    """List the tokens of a text."""
    encoding = tokenizer.template.encode(tokenizer.tokens(text), None)
    special_tokens, words = encoding.special_tokens_mask, encoding.word_ids
    columns = zip(encoding.ids, encoding.offsets, special_tokens, words, strict=True)
    return [
        {
            "id": id,
            "text": tokenizer.token(id) if special else text[start:stop],
            "special": bool(special),
            "start": None if special else start,
            "stop": None if special else stop,
            "word": word,
        }
        for id, (start, stop), special, word in columns
        if with_special or not special
    ]
