"""Messages to a server in this very process, and in this thread."""

from __future__ import annotations

import io
from typing import Any

from pysyncml.errors import HTTPStatus
from pysyncml.transport import Request, Response


class WsgiTransport:
    """Carries requests to a WSGI application in this process."""

    def __init__(self, application: Any) -> None:
        self.application = application

    def exchange(self, request: Request) -> Response:
        """Call the application."""
        host, _, path = request.url.partition('//')[2].partition('/')
        path, _, query = path.partition('?')
        environ = {
            'REQUEST_METHOD': 'POST',
            'wsgi.url_scheme': 'http',
            'HTTP_HOST': host,
            'SCRIPT_NAME': '',
            'PATH_INFO': f'/{path}',
            'QUERY_STRING': query,
            'CONTENT_TYPE': request.content_type,
            'CONTENT_LENGTH': str(len(request.body)),
            'wsgi.input': io.BytesIO(request.body),
        }
        told: list[Any] = []
        body = b''.join(self.application(environ, lambda *values: told.extend(values)))
        headers = {name.lower(): value for name, value in told[1]}
        status = int(told[0].split()[0])
        if status != 200:
            raise HTTPStatus(body.decode('utf-8', 'replace').strip(), status)
        return Response(body, headers['content-type'], status, headers)

    def close(self) -> None:
        """Let go of nothing."""
