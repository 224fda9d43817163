"""Put the routes, the errors and the guard together as one ASGI application."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator

from fastapi import FastAPI

from plainformer import __version__
from plainformer.deploy.server.described import state_limits
from plainformer.deploy.server.errors import add_handlers
from plainformer.deploy.server.guard import Guard
from plainformer.deploy.server.models import Models
from plainformer.deploy.server.routes.about import about_router
from plainformer.deploy.server.routes.attention import attention_router
from plainformer.deploy.server.routes.body import StrictRoute
from plainformer.deploy.server.routes.embed import embed_router
from plainformer.deploy.server.routes.fill import fill_router
from plainformer.deploy.server.routes.page import FILES, page_router
from plainformer.deploy.server.routes.predict import predict_router
from plainformer.deploy.server.routes.rank import rank_router
from plainformer.deploy.server.routes.tokenize import tokenize_router

ROUTERS = (
    predict_router,
    embed_router,
    rank_router,
    tokenize_router,
    attention_router,
    fill_router,
    about_router,
    page_router,
)
OPEN = ("/health", *FILES)
"""The routes that need no token."""


def create_app(models: Models, token: str | None = None) -> Guard:
    """Make the application; with a token, every route but those of `OPEN` asks for it.

    /openapi.json describes it; no page of documentation, which would load scripts from elsewhere.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks: set[asyncio.Task[None]] = set()  # asyncio keeps no reference to a task

        def reload() -> None:
            task = asyncio.create_task(models.reload())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        yield
        await asyncio.to_thread(models.close)

    app = FastAPI(
        title="Plainformer",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    add_handlers(app)
    strict: dict[str, StrictRoute] = {}
    for make in ROUTERS:
        router = make(models)
        app.include_router(router)
        strict |= {one.path: one for one in router.routes if isinstance(one, StrictRoute)}
    state_limits(app.openapi(), models.limits)
    return Guard(app, models.limits, models.metrics, strict, token, OPEN)
