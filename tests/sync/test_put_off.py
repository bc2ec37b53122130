"""Sessions that are put off, and gone on with."""

from __future__ import annotations

import pytest

from pysyncml.protocol.messages import Add, Alert, Status
from tests.sync.support import Wire, device, urls

NAMES = [f'item {number:02}' for number in range(40)]


class Suspending(Wire):
    """Suspends *client* in an exchange, and does to the next one what is said."""

    def __init__(self, server, client, number, then='') -> None:
        script = {number: lambda _: client.adapter.suspend()}
        super().__init__(server, {**script, number + 1: then} if then else script)


def small():
    return device('S', *NAMES), device('C', maxMsgSize=4000)


@pytest.mark.parametrize('then', ['lost request', 'lost answer'])
def test_a_server_that_does_not_answer_the_goodbye_does_not_matter(then):
    server, client = small()
    wire = Suspending(server, client, 3, then)
    client.sync(server, transport=wire)
    assert [alert.code for alert in wire.requests[-1].walk() if isinstance(alert, Alert)] == [224]
    client.sync(server)
    assert urls(client) == urls(server) == NAMES
    assert client.sync(server)['items'].peer == 0


def test_what_the_client_has_is_not_sent_again_when_it_goes_on():
    server, client = small()
    first = Suspending(server, client, 4)
    client.sync(server, transport=first)
    second = Wire(server)
    client.sync(server, transport=second)
    sent = [
        add.items[0].source_uri for wire in (first, second) for add in wire.sent(Add, by='server')
    ]
    assert len(sent) == len(set(sent)) == len(NAMES)
    refused = [status for status in second.sent(Status) if status.code >= 400]
    assert refused == []
