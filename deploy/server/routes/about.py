"""GET /info, /health and /metrics: what is served, whether it runs, and how much it did."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from plainformer import __version__
from plainformer.deploy.server.errors import reply
from plainformer.deploy.server.models import Models, Running
from plainformer.deploy.server.routes.body import ERRORS
from plainformer.finetune.data.batch import BATCH_TOKENS
from plainformer.finetune.placement import precision_of

TEXT = "text/plain; version=0.0.4; charset=utf-8"


class About(BaseModel):
    """A model: its task, its labels, and the columns it reads."""

    name: str
    task: str
    labels: list[str]
    columns: list[str]
    max_length: int
    layers: int
    heads: int
    mask: str | None
    """The spelling of a mask for /fill; null for a model without that head."""
    vector_size: int | None
    device: str
    precision: str
    """The number format of the weights: fp32, bf16, fp16 or int8."""


class Info(BaseModel):
    """The models, and the limits of a request. Names are those of text-embeddings-inference."""

    version: str
    models: list[About]
    max_batch_tokens: int
    max_client_batch_size: int
    max_request_tokens: int
    max_body_bytes: int


def about_router(models: Models) -> APIRouter:
    """Make the routes."""
    router = APIRouter(responses={401: ERRORS[401]})

    @router.get("/info", response_model=Info)
    async def info() -> Response:
        """Describe the models and the limits."""
        limits = models.limits
        return reply(
            {
                "version": __version__,
                "models": [about(one) for one in models.running.values()],
                "max_batch_tokens": BATCH_TOKENS,
                "max_client_batch_size": limits.max_texts,
                "max_request_tokens": limits.max_tokens,
                "max_body_bytes": limits.max_body,
            }
        )

    @router.get("/health")
    async def health() -> Response:
        """Answer while the server runs; before its models are loaded, a connection waits."""
        return reply({"status": "ok"})

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Count requests and batches, in Prometheus' format."""
        for one in models.running.values():
            models.metrics.queue_size.labels(one.name).set(one.engine.waiting)
        return Response(models.metrics.text(), media_type=TEXT)

    return router


def about(one: Running) -> dict[str, Any]:
    """Describe a model."""
    served = one.served
    task = None if served.predictor is None else served.predictor.task
    config, special = served.model.config, served.tokenizer.special_tokens
    return {
        "name": one.name,
        "task": served.task_name,
        "labels": list(getattr(task, "labels", ())),
        "columns": [] if task is None else list(task.COLUMNS),
        "max_length": served.max_length,
        "layers": served.num_layers,
        "heads": config.num_attention_heads,
        "mask": None if served.masked is None else special.get("mask"),
        "vector_size": None if served.embedder is None else served.embedder.model.size,
        "device": served.model.device.type,
        "precision": precision_of(served.model),
    }
