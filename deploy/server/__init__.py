"""Serve models over HTTP: the texts of all clients share batches without padding.

    app = create_app(load_models(["runs/labels"]))      # for uvicorn, or any server of ASGI

A request passes `guard` (token, size, time), a route of `routes/`, the `engine` of its model (one
queue and one thread), and returns in the order of its inputs.
"""

from plainformer.deploy.server.app import create_app
from plainformer.deploy.server.limits import Limits
from plainformer.deploy.server.models import Models, load_models

__all__ = ["Limits", "Models", "create_app", "load_models"]
