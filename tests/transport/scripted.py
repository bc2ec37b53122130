"""A scripted HTTP server on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Scripted:
    """Answers each request with what ``answer(handler, body)`` writes; remembers the requests."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler, bytes], None] = respond()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers['Content-Length']))
                headers = {k.lower(): v for k, v in self.headers.items()}
                outer.seen.append((self.path, headers, body))
                outer.answer(self, body)

            def log_message(self, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f'http://127.0.0.1:{self.port}/sync'
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def respond(
    status: int = 200,
    body: bytes = b'<answer/>',
    kind: str = 'application/vnd.syncml+xml',
    **headers: str,
) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    """Return an answer for :class:`Scripted`."""

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(status)
        handler.send_header('Content-Type', kind)
        for name, value in {'Content_Length': str(len(body)), **headers}.items():
            handler.send_header(name.replace('_', '-'), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer
