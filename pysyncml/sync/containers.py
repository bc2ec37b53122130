"""Commands in commands: Sequence and Atomic (OMA-DS-DataSyncRep 1.2, Sequence and Atomic)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from pysyncml.constants import StatusCode
from pysyncml.protocol import messages
from pysyncml.protocol.messages import Atomic, Command, ItemsCommand
from pysyncml.stats import Stats
from pysyncml.sync.parties import Binding, Parties
from pysyncml.sync.replies import Reply, members, refuse_all

log = logging.getLogger(__name__)

Run = Callable[[Command], list[Reply]]

#: What can be taken back, and so may stand in an Atomic.
_REVOCABLE = (
    messages.Add,
    messages.Replace,
    messages.Delete,
    messages.Copy,
    messages.Move,
    messages.Sync,
    messages.Map,
    messages.Sequence,
)


def in_order(command: messages.Sequence, run: Run) -> list[Reply]:
    """Carry out the commands of a Sequence one after the other; each has its own Status.

    One that fails does not hold up the others: what is asked for is the order alone.
    """
    replies = [Reply(command, StatusCode.OK)]
    for child in command.commands:
        replies += run(child)
    return replies


def all_or_none(
    command: Atomic, run: Run, parties: Parties, bindings: Sequence[Binding]
) -> list[Reply]:
    """Carry out all commands of an Atomic, or none.

    When one fails, the Atomic is answered 507, the one itself with its own code, those before it
    216 (done and taken back), and those after it 215 (not carried out). Where *bindings* cannot
    take back what they do, the Atomic is refused with 406, and nothing is tried.
    """
    inside = list(members(command.commands))
    nested = [member for member in inside if isinstance(member, Atomic)]
    revocable = all(map(_can_be_revoked, inside))
    if nested:
        # one in another is forbidden, and fails with 500
        replies = refuse_all([command], StatusCode.NOT_EXECUTED)
        codes = {member.cmd_id: StatusCode.COMMAND_FAILED for member in nested}
        codes[command.cmd_id] = StatusCode.ATOMIC_FAILED
        replies = [
            reply.with_code(codes.get(reply.command.cmd_id, reply.code)) for reply in replies
        ]
    elif revocable and all(binding.agent.checkpoint() for binding in bindings):
        replies = _try(command, run, parties, bindings)
    else:
        refused = Reply(command, StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED)
        replies = [refused, *refuse_all(command.commands, StatusCode.NOT_EXECUTED)]
    if replies[0].failed:
        for binding in bindings:
            binding.stats.hereErr += 1
            binding.problem('changes that the other side wants done together were not taken')
    return replies


def _can_be_revoked(command: Command) -> bool:
    parts = isinstance(command, ItemsCommand) and any(item.more_data for item in command.items)
    return isinstance(command, _REVOCABLE) and not parts


def _try(command: Atomic, run: Run, parties: Parties, bindings: Sequence[Binding]) -> list[Reply]:
    done: list[Reply] = []
    tried = 0
    outcome = StatusCode.ATOMIC_ROLLBACK_OK
    try:
        with _revocable(parties, bindings):
            for child in command.commands:
                tried += 1
                replies = run(child)
                done += replies
                if any(reply.failed for reply in replies):
                    raise _FailedPart
        return [Reply(command, StatusCode.OK), *done]
    except _FailedPart:
        log.info('an Atomic was taken back')
    except _NotRevoked:
        outcome = StatusCode.ATOMIC_ROLLBACK_FAILED
    return [
        Reply(command, StatusCode.ATOMIC_FAILED),
        *(reply if reply.failed else reply.with_code(outcome) for reply in done),
        *refuse_all(command.commands[tried:], StatusCode.NOT_EXECUTED),
    ]


class _FailedPart(Exception):
    """A command in an Atomic has failed."""


class _NotRevoked(Exception):
    """An agent could not take back what it had done."""


@contextlib.contextmanager
def _revocable(parties: Parties, bindings: Sequence[Binding]) -> Iterator[None]:
    """Take back, at an exception, what was done in the block: items, database and counts."""
    revokers = [binding.agent.checkpoint() for binding in bindings]
    restorers = [_remember(binding) for binding in bindings]
    try:
        with parties.work.all_or_nothing():
            yield
    except BaseException as error:
        for restore in restorers:
            restore()
        try:
            for revoke in revokers:
                if revoke is not None:
                    revoke()
        except Exception:
            log.exception('an agent could not take back what it had done')
            raise _NotRevoked from error
        raise


def _remember(binding: Binding) -> Callable[[], None]:
    """Return what puts the counts of a binding, and how far it has come, back to what they are."""
    progress, stats, cursor = binding.progress, binding.stats.values(), binding.record.cursor
    kept = asdict(progress)

    def restore() -> None:
        for name, value in kept.items():
            setattr(progress, name, value)
        problems = binding.stats.problems
        vars(binding.stats).update(vars(Stats.restore(stats)))
        binding.stats.problems = problems  # why it failed is worth knowing
        binding.record.cursor = cursor

    return restore
