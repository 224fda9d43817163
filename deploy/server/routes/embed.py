"""POST /embed and /v1/embeddings: the vectors of texts, in two forms of the same answer.

/embed            as text-embeddings-inference:  [[0.1, …], …]
/v1/embeddings    as OpenAI's clients send it and read it, numbers or base64
"""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from jaxtyping import Float
from pydantic import BaseModel, Field, TypeAdapter, WithJsonSchema

from plainformer.base import UserError
from plainformer.deploy.server.errors import reply
from plainformer.deploy.server.models import Models, Running
from plainformer.deploy.server.routes.body import OfModel, Texts, strict_router
from plainformer.deploy.server.served import Served
from plainformer.finetune.data.batch import Item

VECTORS = "gives the vectors of texts"
TEXTS = TypeAdapter(Texts).json_schema()


class EmbedBody(OfModel):
    """A text, or several."""

    inputs: Texts


class EmbeddingsBody(OfModel):
    """A text, or several, as OpenAI's clients send them."""

    input: Annotated[Texts | list[int] | list[list[int]], WithJsonSchema(TEXTS)] = Field(
        description="A text, or several. Ids of tokens are refused."
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: little-endian float32."
    )
    dimensions: int | None = Field(None, description="The size of the model's vectors.")
    user: str | None = Field(None, description="Not read.")


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """The number of tokens."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """The vectors of the texts, in order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


def embed_router(models: Models) -> APIRouter:
    """Make the routes."""
    router = strict_router()

    @router.post("/embed", response_model=list[list[float]])
    async def embed(body: EmbedBody) -> Response:
        """Compute the vector of each text."""
        texts = as_texts(body.inputs)
        models.limits.check_texts(len(texts))
        with models.using(body.model, gives_vectors, VECTORS) as one:
            vectors, _ = await vectors_of(one, texts)
            return reply([vector.tolist() for vector in vectors])

    @router.post("/v1/embeddings", response_model=Embeddings)
    async def embeddings(body: EmbeddingsBody) -> Response:
        """Compute the vector of each text, as OpenAI's interface has it."""
        texts = as_texts(body.input)
        models.limits.check_texts(len(texts))
        with models.using(body.model, gives_vectors, VECTORS) as one:
            vectors, items = await vectors_of(one, texts)
            if body.dimensions not in (None, len(vectors[0])):
                raise UserError(f"dimensions: the vectors have {len(vectors[0])} numbers")
            as_base64 = body.encoding_format == "base64"
            data = [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64_of(vector) if as_base64 else vector.tolist(),
                }
                for index, vector in enumerate(vectors)
            ]
            tokens = sum(item.num_tokens for item in items)
            usage = {"prompt_tokens": tokens, "total_tokens": tokens}
            return reply({"object": "list", "data": data, "model": one.name, "usage": usage})

    return router


def gives_vectors(served: Served) -> bool:
    """Tell whether a model gives the vectors of texts."""
    return served.embedder is not None


def as_texts(given: str | list[Any]) -> list[str]:
    """Return a list of texts; raise `UserError` for ids of tokens, and where there are none."""
    texts = [given] if isinstance(given, str) else given
    if not texts:
        raise UserError("input: there is no text")
    if not all(isinstance(text, str) for text in texts):
        raise UserError(
            "input: ids of tokens belong to another tokenizer: send texts (in LangChain: "
            "check_embedding_ctx_length=False)"
        )
    return texts


async def vectors_of(
    one: Running, texts: list[str]
) -> tuple[list[Float[np.ndarray, " size"]], list[Item]]:
    """Compute the vector of each text; return the encoded texts, too."""
    items = await one.encode(lambda: one.served.read_texts(texts), sum(map(len, texts)))
    return [found[0] for found in await one.compute(items)], items


def base64_of(vector: Float[np.ndarray, " size"]) -> str:
    """Write a vector as base64 of little-endian float32."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
