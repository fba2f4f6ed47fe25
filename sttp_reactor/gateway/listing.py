"""A directory's names as lines, as JSON, or as a page."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

from sttp_reactor.gateway.negotiate import preferred
from sttp_reactor.http.messages import TEXT, Request, Response
from sttp_reactor.printable import printable

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1><bdi>{title}</bdi></h1>
<ul>
{items}
</ul>
</html>
"""


def listing(request: Request, path: bytes, contents: bytes) -> Response:
    """`contents` as LIST gives them: names joined by `, `, those of directories with a `/` behind."""
    form = preferred(request.headers.get("accept"), ("text/plain", "application/json", "text/html"))
    headers = [("Vary", "Accept"), ("Cache-Control", "no-cache")]
    if form == "text/plain":
        lines = contents.replace(b", ", b"\n")
        return Response(200, lines + b"\n" if lines else b"", TEXT, headers)
    names = contents.decode().split(", ") if contents else []
    if form == "application/json":
        entries = [
            {"name": name.removesuffix("/"), "kind": "directory" if name.endswith("/") else "file"} for name in names
        ]
        return Response(200, json.dumps({"path": path.decode(), "entries": entries}).encode() + b"\n", form, headers)
    if path != b"/":
        names.insert(0, "../")
    items = "\n".join(
        f'<li><a href="{quote(name, safe="/.")}"><bdi>{html.escape(printable(name))}</bdi></a>' for name in names
    )
    page = _PAGE.format(title=html.escape(printable(path.decode())), items=items)
    return Response(200, page.encode(), "text/html; charset=utf-8", headers)
