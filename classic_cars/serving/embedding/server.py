"""The server of customers' pages: ``GET /embed/<token>`` and nothing else.

Whatever is refused gets the same page, so that nobody learns why. The log says why, and holds neither the link nor whom
it shows. Pages set no cookie, run no script, ask nothing of anybody, and are shown in no frame but those allowed.
"""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from classic_cars.errors import ClassicCarsError
from classic_cars.serving.embedding.customer import SHOWN, Customer, customer
from classic_cars.serving.embedding.links import PATH, Reason, Refused, customer_of
from classic_cars.serving.html import page, style_source
from classic_cars.serving.releases import Release, age, opened
from classic_cars.settings import Settings

log = logging.getLogger("classic_cars.embed")

HOST = "127.0.0.1"
#: Requests at once; one more is told to come back.
MOST_REQUESTS = 64
STATUS = {Reason.FORGED: 403, Reason.EXPIRED: 403, Reason.UNKNOWN: 404, Reason.ELSEWHERE: 404}
RETRY_SECONDS = 30


def application(settings: Settings) -> Starlette:
    """The server, of the current release at each request."""

    def embedded(request: Request) -> Response:
        if request.url.query:
            raise Refused(Reason.ELSEWHERE)
        number = customer_of(settings, request.path_params["token"])
        try:
            with opened(settings) as found:
                if found is None:
                    return _unavailable(settings, "no release was made yet")
                release, tables = found
                shown = customer(tables, number)
        except Exception as error:  # of what is not foreseen, the text may hold values
            foreseen = isinstance(error, ClassicCarsError)
            return _unavailable(settings, str(error) if foreseen else f"unexpected {type(error).__name__}")
        if shown is None:
            raise Refused(Reason.UNKNOWN)
        return _answer(settings, customer_page(shown, release))

    def refused(_request: Request, error: Exception) -> Response:
        reason = error.reason if isinstance(error, Refused) else Reason.ELSEWHERE
        log.warning("a request was refused: %s", reason.value)
        return _answer(settings, page("refused.html", title="This page cannot be shown"), STATUS[reason])

    found = Starlette(
        routes=[Route(f"{PATH}{{token}}", embedded, methods=["GET"])],
        exception_handlers={Refused: refused, HTTPException: refused},
    )
    found.router.redirect_slashes = False
    return found


def customer_page(shown: Customer, release: Release) -> str:
    return page(
        "customer.html",
        title=f"Orders of {shown.name}",
        customer=shown,
        release=release,
        age=age(release.made),
        most=SHOWN,
    )


def _unavailable(settings: Settings, reason: str) -> Response:
    log.error("a page could not be shown: %s", reason)
    found = _answer(settings, page("unavailable.html", title="Please come back in a moment"), 503)
    found.headers["Retry-After"] = str(RETRY_SECONDS)
    return found


def _answer(settings: Settings, text: str, status: int = 200) -> Response:
    policy = (
        f"default-src 'none'; style-src {style_source()}; base-uri 'none'; form-action 'none'; sandbox; "
        f"frame-ancestors {settings.embed_ancestors}"
    )
    return HTMLResponse(
        text,
        status,
        {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex, nofollow, noarchive",
        },
    )


def serve(settings: Settings, port: int) -> None:
    """Serve until interrupted, on this machine only, as a reverse proxy passes on. Links would be in an access log."""
    import uvicorn  # here, as tests and links need no server

    uvicorn.run(
        application(settings),
        host=HOST,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        limit_concurrency=MOST_REQUESTS,
    )
