"""A server that reads each request and answers nothing, on the same stack as the API: what HTTP alone costs."""

import sys

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, answer an empty object."""
    await Request(scope, receive).body()
    await Response(b"{}")(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(
        nothing,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        lifespan="off",
    )
