"""A small server of one map: on this machine alone, for whoever has its token.

Another page in the same browser can send requests to a server on loopback, and a name that it
controls can be made to point here (DNS rebinding). So each request must name this very host and
port, and carry the token that only the printed address has. Nothing is looked up by a path: an
image is asked for by its place in the index.
"""

from __future__ import annotations

import hmac
import json
import secrets
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from selfsight.data.pixels.formats import FORMAT_OF, suffix_of
from selfsight.markup import media_type
from selfsight.neighbours.asked import neighbours_of
from selfsight.neighbours.encoder import Encoder
from selfsight.neighbours.index import Index
from selfsight.neighbours.originals import OriginalImages
from selfsight.reporting.map_page import MapContents, map_html

HOST = "127.0.0.1"
MOST_UPLOADED = 50_000_000
"""Bytes of an image to search by."""


@dataclass(frozen=True)
class MapServer:
    """Serves a map until it is closed; a ``with`` block closes it.

    Attributes:
        index: whose images are served.
        contents: of the page.
        encoder: loads the network when the first image is searched by.
        k: neighbours of such an image.
        port: 0: a free one.
    """

    index: Index
    contents: MapContents
    encoder: Callable[[], Encoder]
    k: int = 12
    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _server: ThreadingHTTPServer = field(init=False, repr=False)
    _lock: threading.Lock = field(init=False, repr=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        try:
            server = ThreadingHTTPServer((HOST, self.port), _handler(self))
        except OSError as error:
            raise ValueError(
                f"port {self.port}: it cannot be opened ({error.strerror}); choose another, or "
                "leave --port out."
            ) from None
        server.daemon_threads = True
        object.__setattr__(self, "_server", server)

    def __enter__(self) -> MapServer:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._server.server_close()

    @property
    def hosts(self) -> tuple[str, str]:
        """What the header Host may say."""
        port = self._server.server_address[1]
        return f"{HOST}:{port}", f"localhost:{port}"

    @property
    def address(self) -> str:
        """Of the page, with the token."""
        return f"http://{self.hosts[0]}/?token={self.token}"

    def serve(self) -> None:
        """Answers requests until `stop` is called, or a signal raises."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Ends `serve` in another thread."""
        self._server.shutdown()

    def picture(self, place: int) -> tuple[bytes, str] | None:
        """The small picture of an image."""
        kept = self.index.pictures
        content = None if kept is None else kept.at([place]).get(place)
        if content is None:
            return None
        return content, media_type(content)

    def image(self, place: int) -> tuple[bytes, str] | None:
        """The whole image, or its small picture where the source is gone."""
        return OriginalImages(self.index).at(place) or self.picture(place)

    def search(self, content: bytes, name: str) -> dict[str, Any]:
        """The most similar images of an uploaded one.

        Raises:
            ValueError: it cannot be read, or the network is gone.
        """
        suffix = suffix_of(name)
        if suffix not in FORMAT_OF:
            raise ValueError(f"{name}: it is no image (png, jpg, webp, tiff, bmp, ...).")
        with self._lock, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"image{suffix}"
            path.write_bytes(content)
            try:
                answer = neighbours_of(
                    self.index, path, min(self.k, len(self.index)), encoder=self.encoder()
                )
            except ValueError as error:
                raise ValueError(str(error).replace(str(path), name)) from None
        found = zip(answer.places[0].tolist(), answer.cosines[0].tolist(), strict=True)
        return {
            "novel": bool(answer.novel[0]),
            "neighbours": [
                {"place": place, "row_id": str(self.index.row_ids[place]), "cosine": cosine}
                for place, cosine in found
                if place >= 0
            ],
        }


def _handler(server: MapServer) -> type[BaseHTTPRequestHandler]:
    """The class of the requests of one server."""

    class MapRequest(BaseHTTPRequestHandler):
        """One request; what is not allowed gets a code and one sentence."""

        server_version, sys_version = "selfsight", ""
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, format: str, *values: Any) -> None:
            """Requests are not logged: their addresses hold the token."""

        def do_GET(self) -> None:
            path = self._allowed()
            if path is None:
                return
            if path == "/":
                self._send_page()
                return
            kind, _, place = path.removeprefix("/").partition("/")
            number = int(place) if place.isascii() and place.isdigit() and len(place) < 12 else -1
            found = None
            if kind in ("picture", "image") and 0 <= number < len(server.index):
                found = (server.picture if kind == "picture" else server.image)(number)
            if found is None:
                self._refuse(404, "There is no such image in this index.")
            else:
                self._send(200, *found)

        def do_POST(self) -> None:
            path = self._allowed()
            if path is None:
                return
            length = self.headers.get("Content-Length", "")
            if path != "/search":
                self._refuse(404, "There is nothing here.")
            elif not length.isdigit() or not 0 < int(length) <= MOST_UPLOADED:
                self._refuse(413, f"The image must have from 1 to {MOST_UPLOADED:,} bytes.")
            else:
                content = self.rfile.read(int(length))
                name = Path(unquote(self.headers.get("X-File-Name", "image"))).name
                try:
                    self._send_json(200, server.search(content, name))
                except ValueError as error:
                    self._send_json(200, {"error": str(error)})

        def _allowed(self) -> str | None:
            """The path of a request that may be answered; None: it has been refused."""
            parts = urlsplit(self.path)
            given = parse_qs(parts.query).get("token", [""])[0]
            if self.headers.get("Host", "") not in server.hosts:
                self._refuse(421, "This server answers to its own address alone.")
            elif self.headers.get("Origin", f"http://{server.hosts[0]}") not in {
                f"http://{host}" for host in server.hosts
            }:
                self._refuse(403, "Requests from other pages are not answered.")
            elif not hmac.compare_digest(given.encode(), server.token.encode()):
                self._refuse(403, "The token is missing; open the address that was printed.")
            else:
                return parts.path
            return None

        def _send_page(self) -> None:
            nonce = secrets.token_urlsafe(16)
            evaluated = " 'unsafe-eval'" if server.contents.drawn_by_gl else ""
            policy = (
                f"default-src 'none'; script-src 'nonce-{nonce}'{evaluated}; "
                "style-src 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
            text = map_html(server.contents, token=server.token, nonce=nonce)
            kind = "text/html; charset=utf-8"
            self._send(200, text.encode(), kind, {"Content-Security-Policy": policy})

        def _send_json(self, code: int, value: Any) -> None:
            self._send(code, json.dumps(value).encode(), "application/json")

        def _refuse(self, code: int, sentence: str) -> None:
            self.close_connection = True  # what is left of a body is not read
            self._send(code, f"{sentence}\n".encode(), "text/plain; charset=utf-8")

        def _send(
            self, code: int, content: bytes, kind: str, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(code)
            always = {
                "Content-Type": kind,
                "Content-Length": str(len(content)),
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cache-Control": "no-store",
                **({"Connection": "close"} if self.close_connection else {}),
            }
            for name, value in (always | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    return MapRequest
