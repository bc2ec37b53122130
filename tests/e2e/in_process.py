"""Messages to a server in this very process, and in this thread."""

from __future__ import annotations

import io
from typing import Any

from pysyncml.errors import HTTPStatus
from pysyncml.transport import Request, Response


def ask(application: Any, request: Request) -> Response:
    """Return what a WSGI *application* answers, whatever its status."""
    scheme, _, rest = request.url.partition('://')
    host, _, path = rest.partition('/')
    path, _, query = path.partition('?')
    environ = {
        'REQUEST_METHOD': 'POST',
        'wsgi.url_scheme': scheme,
        'HTTP_HOST': host,
        'SCRIPT_NAME': '',
        'PATH_INFO': f'/{path}',
        'QUERY_STRING': query,
        'CONTENT_TYPE': request.content_type,
        'CONTENT_LENGTH': str(len(request.body)),
        'wsgi.input': io.BytesIO(request.body),
    }
    told: list[Any] = []
    body = b''.join(application(environ, lambda *values: told.extend(values)))
    status, headers = told
    headers = {name.lower(): value for name, value in headers}
    return Response(body, headers['content-type'], int(status.split()[0]), headers)


class WsgiTransport:
    """Carries requests to a WSGI application in this process."""

    def __init__(self, application: Any) -> None:
        self.application = application

    def exchange(self, request: Request) -> Response:
        """Call the application."""
        response = ask(self.application, request)
        if response.status != 200:
            raise HTTPStatus(response.body.decode('utf-8', 'replace').strip(), response.status)
        return response

    def close(self) -> None:
        """Let go of nothing."""
