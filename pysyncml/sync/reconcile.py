"""Decide what an incoming change means. Pure: no agent, no database, no clock.

:func:`reconcile` is a table read from the top. Both roles use it: a client differs only in that
what was changed here and not yet told to the server is left for the next session, where
the server, which holds the policy, will decide.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pysyncml.constants import Policy, Role, StatusCode


class Verdict(Enum):
    """What is to be done about an incoming change."""

    ADD = 'store it as a new item'
    LINK = 'it is here already: only note that the two are one'
    REPLACE = 'store it as the new version'
    MERGE = 'merge the two versions'
    KEEP_BOTH = 'keep ours and store theirs beside it'
    KEEP_OURS = 'keep ours and send it'
    DELETE = 'delete ours'
    OLD_NEWS = 'the peer shows what it is known to have: ours stays as it is, and goes to it'
    GONE = 'it is gone already'
    BRING_BACK = 'ours was deleted: store theirs again'
    REFUSE = 'leave both sides as they are'
    LATER = 'leave it for the next session'


class Here(Enum):
    """What has happened to our item since the peer last looked."""

    UNKNOWN = 'the peer speaks of an item we do not know'
    UNCHANGED = 'unchanged'
    CHANGED = 'changed'
    DELETED = 'deleted'


class Situation(NamedTuple):
    """All that the decision depends on.

    Args:
        command: ``Add``, ``Replace`` or ``Delete``.
        here: what has happened to our item.
        equal: whether what comes equals what is here.
        stale: whether what comes is the version the peer was known to have.
        twin: whether an unmapped item of ours equals what comes (slow sync).
        near: whether an unmapped item of ours is much like it (slow sync).
        merged: whether merging has been tried, and failed.
        wipes: whether the sender's version counts in any case (refresh).
        newer: whether the incoming version is the newer one.
    """

    command: str
    here: Here
    role: Role = Role.SERVER
    policy: Policy = Policy.KEEP_BOTH
    equal: bool = False
    stale: bool = False
    twin: bool = False
    near: bool = False
    merged: bool = False
    wipes: bool = False
    newer: bool = True


Decision = tuple[Verdict, StatusCode]

_OK = StatusCode.OK
_ADDED = StatusCode.ITEM_ADDED
_EXISTS = StatusCode.ALREADY_EXISTS
_MERGED = StatusCode.CONFLICT_RESOLVED_MERGE
_CLIENT = StatusCode.CONFLICT_RESOLVED_CLIENT_DATA
_SERVER = StatusCode.CONFLICT_RESOLVED_SERVER_DATA
_BOTH = StatusCode.CONFLICT_RESOLVED_DUPLICATE
_CONFLICT = StatusCode.UPDATE_CONFLICT
_LATER = StatusCode.RETRY_LATER


def reconcile(case: Situation) -> Decision:
    """Return what to do, and the Status that says so (OMA-DS-Protocol 1.2, §5.5 and §6.5)."""
    if case.command == 'Delete':
        return _deletion(case)
    if case.here is Here.UNKNOWN:
        return _newcomer(case)
    known = _EXISTS if case.command == 'Add' else _OK
    if case.equal:
        return Verdict.LINK, known
    if case.stale and not case.wipes:
        return Verdict.OLD_NEWS, known
    if case.here is Here.UNCHANGED or (case.wipes and case.here is Here.CHANGED):
        return Verdict.REPLACE, _OK
    if case.here is Here.DELETED:
        if case.wipes or case.role is Role.CLIENT:
            # a client has told the server of its deletions before: this is the answer
            return Verdict.BRING_BACK, _ADDED
        return _edit_against_delete(case.policy)
    if case.role is Role.CLIENT:
        return Verdict.LATER, _LATER
    if not case.merged:
        return Verdict.MERGE, _MERGED
    return _edit_against_edit(case.policy, case.newer)


def _newcomer(case: Situation) -> Decision:
    if case.twin:
        return Verdict.LINK, _EXISTS
    if case.near and case.wipes:
        return Verdict.REPLACE, _OK
    if case.near and not case.merged:
        return Verdict.MERGE, _MERGED
    return Verdict.ADD, _ADDED


def _edit_against_edit(policy: Policy, newer: bool) -> Decision:
    match policy:
        case Policy.CLIENT_WINS:
            return Verdict.REPLACE, _CLIENT
        case Policy.SERVER_WINS:
            return Verdict.KEEP_OURS, _SERVER
        case Policy.NEWEST_WINS:
            return (Verdict.REPLACE, _CLIENT) if newer else (Verdict.KEEP_OURS, _SERVER)
        case Policy.ERROR:
            return Verdict.REFUSE, _CONFLICT
        case _:
            return Verdict.KEEP_BOTH, _BOTH


def _edit_against_delete(policy: Policy) -> Decision:
    match policy:
        case Policy.SERVER_WINS:
            return Verdict.KEEP_OURS, _SERVER
        case Policy.ERROR:
            return Verdict.REFUSE, _CONFLICT
        case _:
            return Verdict.BRING_BACK, _CLIENT


def _deletion(case: Situation) -> Decision:
    match case.here:
        case Here.UNKNOWN:
            return Verdict.GONE, StatusCode.ITEM_NOT_DELETED
        case Here.DELETED:
            return Verdict.GONE, _OK
        case Here.UNCHANGED:
            return Verdict.DELETE, _OK
    if case.wipes:
        return Verdict.DELETE, _OK
    if case.role is Role.CLIENT:
        return Verdict.LATER, _LATER
    match case.policy:
        case Policy.CLIENT_WINS:
            return Verdict.DELETE, _CLIENT
        case Policy.ERROR:
            return Verdict.REFUSE, _CONFLICT
        case _:
            return Verdict.KEEP_OURS, _SERVER
