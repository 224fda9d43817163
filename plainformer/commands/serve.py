"""`plainformer serve RUN [RUN …]`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from plainformer.base import Inference, UserError, between, check_bounds
from plainformer.base.allocator import limit_kernel_cache, return_memory
from plainformer.base.extras import need
from plainformer.line import Positional
from plainformer.options import parse

if TYPE_CHECKING:
    from plainformer.deploy.server.limits import Limits

TOKEN = "PLAINFORMER_TOKEN"


@dataclass(frozen=True)
class ServeOptions:
    """Serve models over HTTP: the texts of all clients share batches, without padding.

    A page for people at /. POST /predict, /embed, /v1/embeddings, /rerank, /similarity, /tokenize,
    /attention and /fill; GET /info, /health, /metrics and /openapi.json. SIGTERM finishes what was
    accepted; SIGHUP loads the folders again without losing a request.
    """

    run: Positional[tuple[Path, ...]]
    """Folders of models: fine-tuned ones, sentence encoders, adapters. A request names one by the
    name of its folder; the default is the first that can answer it. Adapters of one base share its
    weights."""

    host: str = "127.0.0.1"
    """The address to listen on. By default only this machine reaches the server; 0.0.0.0: others
    too, for which --token is wise."""

    port: int = 8080
    """The port to listen on; 0: any free one, which is printed."""

    token: str | None = None
    """Answer only requests with `Authorization: Bearer TOKEN`. By default the environment variable
    PLAINFORMER_TOKEN, which other users of the machine cannot see; without both, every request."""

    max_body: int = 2_000_000
    """Bytes of the body of a request."""

    max_texts: int = 256
    """Inputs of a request."""

    max_tokens: int = 65_536
    """Tokens of all inputs of a request, the windows of long texts counted one by one."""

    queue: int = 4096
    """Texts that may wait for a model; more are refused with status 429."""

    timeout: float = 30.0
    """Seconds for the body of a request to arrive, and again for its answer."""

    wait_ms: float = 2.0
    """Milliseconds that a text waits for others to share its batch. 0: none, for a single client;
    2 to 10 for many."""

    inference: Inference = field(default_factory=Inference)

    runtime: Literal["auto", "torch", "onnxruntime", "openvino"] = "auto"
    """The runtime that computes the batches. ONNX Runtime and OpenVINO read the onnx/ of a folder
    that `plainformer export` wrote; auto measures those that are there for a second at the start,
    and takes the fastest."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, port=between(0, 65535))
        check_token(self.token)
        _ = self.limits

    @property
    def limits(self) -> "Limits":
        """Return the limits; raise `UserError` for one out of bounds."""
        from plainformer.deploy.server.limits import Limits

        named = {field.name: getattr(self, field.name) for field in fields(Limits)}
        return Limits(**named)


def check_token(token: str | None) -> None:
    """Raise `UserError` for a token that no header can hold."""
    if token is not None and not (token.isascii() and token.isprintable()):
        raise UserError("token must be of printable ASCII characters: it is sent in a header")


def run(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = parse(ServeOptions, "serve", arguments)
    token = options.token if options.token is not None else os.environ.get(TOKEN) or None
    check_token(token)
    need("fastapi", "uvicorn", "httptools", "prometheus_client", extra="serve", purpose="serving")
    limit_kernel_cache()
    return_memory()
    from plainformer.deploy.server.run import serve

    serve(
        options.run,
        options.host,
        options.port,
        options.limits,
        token,
        options.inference,
        options.runtime,
    )
