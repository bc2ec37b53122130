"""Messages that a busy server has put off (OMA-DS-Protocol 1.2, §5.13).

A server that has no time says so with Status 101 and keeps the message. The client asks for its
answer with Alert 221, again and again, until there is time. Only of those who may come in a message
is kept: one for each device, and in the name of the user who has sent it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import field

from pysyncml.constants import AlertCode, StatusCode
from pysyncml.immutable import immutable
from pysyncml.login import refusal
from pysyncml.protocol.messages import Alert, Message

#: How much is kept of messages that wait for an answer: how many, and how many bytes of all.
MOST_MESSAGES, MOST_BYTES = 100, 32 * 1024 * 1024

#: Seconds after which nobody is expected to ask any more.
AGE = 600.0


@immutable()
class Post:
    """A message as it came: decoded, with its bytes, its address and the headers of HTTP."""

    message: Message
    body: bytes
    url: str | None
    headers: Mapping[str, str]
    came: float = field(default_factory=time.monotonic)  # seconds
    user: str | None = None  # who has logged in with it


class Waiting:
    """The messages of one server that wait for an answer, one for each device."""

    def __init__(self) -> None:
        self._posts: dict[str, Post] = {}  # by the id of the device
        self._lock = threading.Lock()

    def put(self, post: Post) -> bool:
        """Keep *post*; return ``False`` if too much is waiting already."""
        with self._lock:
            self._posts.pop(_key(post.message), None)
            for key in [key for key, each in self._posts.items() if post.came - each.came > AGE]:
                del self._posts[key]
            held = sum(len(each.body) for each in self._posts.values())
            if len(self._posts) >= MOST_MESSAGES or held + len(post.body) > MOST_BYTES:
                return False
            self._posts[_key(post.message)] = post
            return True

    def find(self, message: Message) -> Post | None:
        """Return what *message* asks for the answer of; ``None`` if nothing."""
        with self._lock:
            found = self._posts.get(_key(message)) if asks_again(message) else None
        same = found and found.message.header.session_id == message.header.session_id
        return found if same else None

    def drop(self, post: Post) -> None:
        """Forget *post*: it has its answer."""
        with self._lock:
            if self._posts.get(_key(post.message)) is post:
                del self._posts[_key(post.message)]


def later(message: Message, *, kept: bool) -> Message:
    """Return the answer that puts *message* off: the whole package is still to be answered."""
    code = StatusCode.IN_PROGRESS if kept else StatusCode.RETRY_LATER
    answer = refusal(message, code)
    return Message(header=answer.header, commands=answer.commands, final=not kept)


def _key(message: Message) -> str:
    return message.header.source.uri


def asks_again(message: Message) -> bool:
    """Return whether *message* asks for the answer to one that was put off (Alert 221)."""
    alerts = [command for command in message.commands if isinstance(command, Alert)]
    return any(alert.code == AlertCode.RESULT for alert in alerts)
