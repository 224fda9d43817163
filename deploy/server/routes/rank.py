"""POST /rerank and /similarity: how well texts go with one text.

A model of sentence vectors gives the cosine; a regression on pairs gives its score of the pair.
"""

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from plainformer.base import UserError
from plainformer.deploy.server.errors import reply
from plainformer.deploy.server.models import Models, Running
from plainformer.deploy.server.routes.body import Body, OfModel, strict_router
from plainformer.deploy.server.routes.embed import vectors_of
from plainformer.deploy.server.served import Served, cosines
from plainformer.finetune.tasks.regression import Regression


class RerankBody(OfModel):
    """A query, and the texts to rank."""

    query: str
    texts: list[str] = Field(min_length=1)
    return_text: bool = Field(False, description="Repeat each text in the answer.")


class Rank(BaseModel):
    """The place of a text in the request, and its score."""

    index: int
    score: float
    text: str | None = None


class Sentences(Body):
    """A text, and those it is compared with."""

    source_sentence: str
    sentences: list[str] = Field(min_length=1)


class SimilarityBody(OfModel):
    """A text, and those it is compared with."""

    inputs: Sentences


def rank_router(models: Models) -> APIRouter:
    """Make the routes."""
    router = strict_router()

    @router.post("/rerank", response_model=list[Rank], response_model_exclude_none=True)
    async def rerank(body: RerankBody) -> Response:
        """Score texts by a query, and return them best first."""
        with models.using(body.model, can_rank, "ranks texts") as one:
            scores = await scores_of(one, body.query, body.texts)
            order = sorted(range(len(scores)), key=lambda index: -scores[index])
            ranks = [Rank(index=index, score=scores[index]) for index in order]
            if body.return_text:
                ranks = [rank.model_copy(update={"text": body.texts[rank.index]}) for rank in ranks]
            return reply([rank.model_dump(exclude_none=True) for rank in ranks])

    @router.post("/similarity", response_model=list[float])
    async def similarity(body: SimilarityBody) -> Response:
        """Score texts by a text, in their order."""
        with models.using(body.model, can_rank, "ranks texts") as one:
            given = body.inputs
            return reply(await scores_of(one, given.source_sentence, given.sentences))

    return router


def can_rank(served: Served) -> bool:
    """Tell whether a model gives vectors, or a score for a pair of texts."""
    task = None if served.predictor is None else served.predictor.task
    return served.embedder is not None or isinstance(task, Regression)


async def scores_of(one: Running, query: str, texts: list[str]) -> list[float]:
    """Score each text by a query; raise `UserError` for a model that has no such score."""
    one.limits.check_texts(len(texts))
    if one.served.embedder is not None:
        vectors, _ = await vectors_of(one, [query, *texts])
        return cosines(vectors[0], vectors[1:])
    if not can_rank(one.served):
        raise UserError(
            f"this model is for {one.served.task_name}: name one of sentence vectors, or a "
            "regression on pairs"
        )
    pairs = [(query, text) for text in texts]
    characters = len(query) * len(texts) + sum(map(len, texts))
    _, items = await one.encode(lambda: one.served.read(pairs), characters)
    return [prediction.score for prediction in await one.compute(items)]
