"""POST /predict: what `plainformer predict` prints, for each input."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from plainformer.deploy.server.errors import reply
from plainformer.deploy.server.models import Models
from plainformer.deploy.server.routes.body import OfModel, strict_router
from plainformer.deploy.server.served import Served

Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class PredictBody(OfModel):
    """Texts, pairs of texts, or rows with the columns of the task."""

    inputs: list[str | Pair | dict[str, Any]] = Field(min_length=1)


class Predictions(BaseModel):
    """A prediction for each input, in order: the fields of the input, and those of the task."""

    model: str
    predictions: list[dict[str, Any]]


def predict_router(models: Models) -> APIRouter:
    """Make the route."""
    router = strict_router()

    @router.post("/predict", response_model=Predictions)
    async def predict(body: PredictBody) -> Response:
        """Predict for texts, pairs of texts, or rows with the columns of the task."""
        models.limits.check_texts(len(body.inputs))
        with models.using(body.model, predicts, "predicts labels or scores") as one:
            rows, items = await one.encode(lambda: one.served.read(body.inputs), size(body.inputs))
            results = await one.compute(items)
            answers = one.served.answers(rows, results)
            return reply({"model": one.name, "predictions": answers})

    return router


def predicts(served: Served) -> bool:
    """Tell whether a model was fine-tuned for a task."""
    return served.predictor is not None


def size(value: Any) -> int:
    """Count the characters of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size, value.values()))
    return sum(map(size, value)) if isinstance(value, list) else 0
