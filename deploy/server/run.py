"""Listen on a port, and serve until SIGTERM or Ctrl-C; what was accepted is finished."""

import signal
import socket
import sys
from pathlib import Path

import uvicorn

from plainformer.base import AUTO, Inference, UserError
from plainformer.deploy.runtimes import Runtime
from plainformer.deploy.server.app import create_app
from plainformer.deploy.server.connection import PatientConnection
from plainformer.deploy.server.guard import Guard
from plainformer.deploy.server.limits import Limits
from plainformer.deploy.server.models import load_models

LOOPBACK = ("127.0.0.1", "::1", "localhost")
BACKLOG = 2048
SWITCH = 0.0002
"""Seconds after which the thread that answers lets that of a model go on, if it waits (Python: 5
milliseconds, which is longer than most operations of a batch)."""


def listen(host: str, port: int) -> socket.socket:
    """Open the socket; raise `UserError` where that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def make_server(app: Guard, limits: Limits, keep_alive: int = 75) -> uvicorn.Server:
    """Make the HTTP server of an application; connections rest at most `keep_alive` seconds."""
    config = uvicorn.Config(
        app,
        http=PatientConnection,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=int(limits.timeout) + 5,
    )
    return uvicorn.Server(config)


def serve(
    folders: tuple[Path, ...],
    host: str,
    port: int,
    limits: Limits,
    token: str | None = None,
    inference: Inference = AUTO,
    runtime: Runtime = "auto",
) -> None:
    """Load the models, and serve them until a signal says to stop.

    Raises `UserError` for a folder without a model, and a port that is taken.
    """
    if hasattr(signal, "SIGHUP"):  # until there is something to reload
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with listen(host, port) as listener:
        models = load_models(folders, limits, inference, runtime)
        server = make_server(create_app(models, token), limits)
        if host not in LOOPBACK and token is None:
            print(
                f"warning: anyone who reaches {host} may use this server: give --token",
                file=sys.stderr,
            )
        shown, taken = listener.getsockname()[:2]
        shown = f"[{shown}]" if ":" in shown else shown
        print(f"{', '.join(models.running)} at http://{shown}:{taken}", flush=True)
        sys.setswitchinterval(SWITCH)
        # uvicorn stops at SIGTERM, and raises it again when it has stopped.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        server.run(sockets=[listener])
