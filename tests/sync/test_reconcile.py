"""The table of decisions, row by row, for both roles and all policies."""

from __future__ import annotations

import itertools

import pytest

from pysyncml.constants import Policy, Role
from pysyncml.sync.reconcile import Here, Situation, Verdict, reconcile

SERVER, CLIENT = Role.SERVER, Role.CLIENT


def decide(command, here, **values):
    verdict, status = reconcile(Situation(command=command, here=here, **values))
    return verdict.name, int(status)


def everywhere(**values):
    """Yield *values* with every role and policy."""
    for role, policy in itertools.product(Role, Policy):
        yield {'role': role, 'policy': policy, **values}


# command, here, flags → verdict, status; the same for both roles and all policies
SAME_FOR_ALL = [
    # an unknown item
    ('Add', Here.UNKNOWN, '', 'ADD', 201),
    ('Replace', Here.UNKNOWN, '', 'ADD', 201),
    ('Delete', Here.UNKNOWN, '', 'GONE', 211),
    # a slow sync: one of ours may be the same
    ('Add', Here.UNKNOWN, 'twin', 'LINK', 418),
    ('Replace', Here.UNKNOWN, 'twin', 'LINK', 418),
    ('Add', Here.UNKNOWN, 'near', 'MERGE', 207),
    ('Replace', Here.UNKNOWN, 'near', 'MERGE', 207),
    ('Add', Here.UNKNOWN, 'near merged', 'ADD', 201),
    ('Add', Here.UNKNOWN, 'near wipes', 'REPLACE', 200),
    ('Replace', Here.UNKNOWN, 'near wipes', 'REPLACE', 200),
    # unchanged here; an Add of a known item is a Replace
    ('Add', Here.UNCHANGED, '', 'REPLACE', 200),
    ('Replace', Here.UNCHANGED, '', 'REPLACE', 200),
    ('Delete', Here.UNCHANGED, '', 'DELETE', 200),
    # the same on both sides
    ('Add', Here.UNCHANGED, 'equal', 'LINK', 418),
    ('Replace', Here.UNCHANGED, 'equal', 'LINK', 200),
    ('Replace', Here.CHANGED, 'equal', 'LINK', 200),
    ('Replace', Here.CHANGED, 'equal stale', 'LINK', 200),
    ('Replace', Here.CHANGED, 'equal merged', 'LINK', 200),
    # what the peer is known to have
    ('Add', Here.CHANGED, 'stale', 'OLD_NEWS', 418),
    ('Replace', Here.CHANGED, 'stale', 'OLD_NEWS', 200),
    ('Replace', Here.UNCHANGED, 'stale', 'OLD_NEWS', 200),
    ('Replace', Here.DELETED, 'stale', 'OLD_NEWS', 200),
    # a refresh: the sender's version counts in any case
    ('Replace', Here.CHANGED, 'wipes', 'REPLACE', 200),
    ('Replace', Here.CHANGED, 'wipes stale', 'REPLACE', 200),
    ('Replace', Here.UNCHANGED, 'wipes stale', 'REPLACE', 200),
    ('Replace', Here.DELETED, 'wipes', 'BRING_BACK', 201),
    ('Replace', Here.DELETED, 'wipes stale', 'BRING_BACK', 201),
    ('Delete', Here.CHANGED, 'wipes', 'DELETE', 200),
    # deleted on both sides
    ('Delete', Here.DELETED, '', 'GONE', 200),
    ('Delete', Here.DELETED, 'wipes', 'GONE', 200),
]


@pytest.mark.parametrize(('command', 'here', 'flags', 'verdict', 'status'), SAME_FOR_ALL)
def test_the_same_for_all(command, here, flags, verdict, status):
    for values in everywhere(**dict.fromkeys(flags.split(), True)):
        assert decide(command, here, **values) == (verdict, status), values


@pytest.mark.parametrize('command', ['Add', 'Replace'])
def test_a_server_merges_first(command):
    for policy in Policy:
        assert decide(command, Here.CHANGED, policy=policy) == ('MERGE', 207)


# when merging did not work, or there is a deletion on one side
SERVER_POLICIES = [
    (Policy.ERROR, 'edit/edit', 'REFUSE', 409),
    (Policy.ERROR, 'edit/delete', 'REFUSE', 409),
    (Policy.ERROR, 'delete/edit', 'REFUSE', 409),
    (Policy.CLIENT_WINS, 'edit/edit', 'REPLACE', 208),
    (Policy.CLIENT_WINS, 'edit/delete', 'BRING_BACK', 208),
    (Policy.CLIENT_WINS, 'delete/edit', 'DELETE', 208),
    (Policy.SERVER_WINS, 'edit/edit', 'KEEP_OURS', 419),
    (Policy.SERVER_WINS, 'edit/delete', 'KEEP_OURS', 419),
    (Policy.SERVER_WINS, 'delete/edit', 'KEEP_OURS', 419),
    (Policy.KEEP_BOTH, 'edit/edit', 'KEEP_BOTH', 209),
    (Policy.KEEP_BOTH, 'edit/delete', 'BRING_BACK', 208),
    (Policy.KEEP_BOTH, 'delete/edit', 'KEEP_OURS', 419),
    (Policy.NEWEST_WINS, 'edit/edit', 'REPLACE', 208),
    (Policy.NEWEST_WINS, 'edit/delete', 'BRING_BACK', 208),
    (Policy.NEWEST_WINS, 'delete/edit', 'KEEP_OURS', 419),
]
CONFLICTS = {
    'edit/edit': ('Replace', Here.CHANGED, {'merged': True}),
    'edit/delete': ('Replace', Here.DELETED, {}),
    'delete/edit': ('Delete', Here.CHANGED, {}),
}


@pytest.mark.parametrize(('policy', 'conflict', 'verdict', 'status'), SERVER_POLICIES)
def test_a_server_decides_by_its_policy(policy, conflict, verdict, status):
    command, here, values = CONFLICTS[conflict]
    assert decide(command, here, policy=policy, **values) == (verdict, status)


def test_every_policy_is_covered():
    assert {(policy, name) for policy, name, *_ in SERVER_POLICIES} == set(
        itertools.product(Policy, CONFLICTS)
    )


def test_the_newer_version_wins():
    values = {'policy': Policy.NEWEST_WINS, 'merged': True}
    assert decide('Replace', Here.CHANGED, newer=True, **values) == ('REPLACE', 208)
    assert decide('Replace', Here.CHANGED, newer=False, **values) == ('KEEP_OURS', 419)


def test_age_matters_to_no_other_policy():
    for policy in set(Policy) - {Policy.NEWEST_WINS}:
        values = {'policy': policy, 'merged': True}
        older, newer = (decide('Replace', Here.CHANGED, newer=n, **values) for n in (False, True))
        assert older == newer


@pytest.mark.parametrize('policy', Policy)
def test_a_client_leaves_decisions_to_the_server(policy):
    """What it changed after it had sent its changes goes to the server the next time."""
    values = {'role': CLIENT, 'policy': policy}
    assert decide('Replace', Here.CHANGED, **values) == ('LATER', 417)
    assert decide('Add', Here.CHANGED, **values) == ('LATER', 417)
    assert decide('Delete', Here.CHANGED, **values) == ('LATER', 417)
    assert decide('Replace', Here.DELETED, **values) == ('BRING_BACK', 201)


def test_every_situation_is_decided():
    """Nothing falls through, and no verdict ever loses what only one side has."""
    flags = ('equal', 'stale', 'twin', 'near', 'merged', 'wipes')
    used = set()
    for command, here, values in itertools.product(
        ('Add', 'Replace', 'Delete'), Here, everywhere()
    ):
        for chosen in itertools.product((False, True), repeat=len(flags)):
            case = Situation(
                command=command, here=here, **values, **dict(zip(flags, chosen, strict=True))
            )
            verdict, status = reconcile(case)
            used.add(verdict)
            assert status in {200, 201, 207, 208, 209, 211, 409, 417, 418, 419}
            if verdict is Verdict.DELETE:
                lenient = case.wipes or case.policy is Policy.CLIENT_WINS
                assert command == 'Delete'
                assert here is Here.UNCHANGED or (here is Here.CHANGED and lenient)
            if verdict is Verdict.REPLACE and here is Here.CHANGED:
                assert case.wipes or case.merged
            if verdict is Verdict.MERGE:
                assert not case.merged, 'a second try would never end'
    assert used == set(Verdict)
