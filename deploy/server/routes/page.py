"""GET /: the page, and its files under /page/.

They are read once, at the start. A browser may load nothing from elsewhere, run no script that
stands in the page, and show the page in no frame.
"""

from pathlib import Path

from fastapi import APIRouter, Response

from plainformer.deploy.server.models import Models

FOLDER = Path(__file__).parents[1] / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
HEADERS = {
    "Content-Security-Policy": "; ".join(POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
FILES = {
    "/" if path.name == "index.html" else f"/page/{path.name}": path
    for path in sorted(FOLDER.iterdir())
    if path.suffix in TYPES
}
"""The files by their routes. None holds a secret, so they need no token."""


def page_router(_: Models) -> APIRouter:
    """Make the routes."""
    router = APIRouter(include_in_schema=False)
    for route, path in FILES.items():
        add_file(router, route, path)
    return router


def add_file(router: APIRouter, route: str, path: Path) -> None:
    """Add the route of one file."""
    content = path.read_bytes()

    @router.get(route)
    async def file() -> Response:
        return Response(content, headers=HEADERS, media_type=TYPES[path.suffix])
