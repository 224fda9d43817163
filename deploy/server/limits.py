"""Define what one request, and all that wait, may ask of the server."""

from dataclasses import dataclass

from plainformer.base import UserError, above, at_least, between, check_bounds, plural
from plainformer.deploy.server.errors import Refused


@dataclass(frozen=True)
class Limits:
    """Bounds of a request and of the queue."""

    max_body: int = 2_000_000
    """Bytes of the body of a request."""
    max_texts: int = 256
    """Inputs of a request."""
    max_tokens: int = 65_536
    """Tokens of all inputs of a request, windows counted one by one."""
    queue: int = 4096
    """Texts that may wait for a model."""
    timeout: float = 30.0
    """Seconds for the body of a request to arrive, and again for its answer."""
    wait_ms: float = 2.0
    """Milliseconds that a text waits for others to share its batch."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_bounds(
            self,
            max_body=at_least(1),
            max_texts=at_least(1),
            max_tokens=at_least(1),
            queue=at_least(1),
            timeout=above(0),
            wait_ms=between(0, 1000),
        )
        if self.queue < self.max_texts:
            raise UserError(
                f"queue {self.queue} must hold a whole request: at least max_texts {self.max_texts}"
            )

    def check_texts(self, count: int) -> None:
        """Raise `Refused` for a request of too many inputs."""
        if count > self.max_texts:
            raise Refused(
                413, f"{plural(count, 'input')}, more than {self.max_texts}: send several requests"
            )

    def check_tokens(self, tokens: int) -> None:
        """Raise `Refused` for a request of too many tokens."""
        if tokens > self.max_tokens:
            raise Refused(
                413, f"{tokens:,} tokens, more than {self.max_tokens:,}: send several requests"
            )
