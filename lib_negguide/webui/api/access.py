"""Who may call the endpoints: whom the host knows."""

from __future__ import annotations

from secrets import compare_digest

from fastapi import HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from modules import shared


async def identified(request: Request) -> None:
    """401 unless the caller is known by ``--api-auth``, by the page's login, or neither is in use."""
    known = dict(pair.split(":") for pair in (shared.cmd_opts.api_auth or "").split(",") if pair)
    login = getattr(request.app, "auth", None)
    if not known and login is None:
        return
    cookies = request.cookies
    token = cookies.get("access-token") or cookies.get("access-token-unsecure")
    if login is not None and request.app.tokens.get(token) is not None:
        return
    given: HTTPBasicCredentials = await HTTPBasic(auto_error=False)(request)
    if known and given and given.username in known and compare_digest(
            given.password.encode(), known[given.username].encode()):
        return
    raise HTTPException(status_code=401, detail="Incorrect username or password", headers={"WWW-Authenticate": "Basic"})
