"""What holds for all tests."""

from __future__ import annotations

from pysyncml.protocol import auth

# Hashes that are as expensive as they should be would take up half of the time of all tests. What
# they cost in earnest is looked at in tests/protocol/test_auth.py.
REAL_COST = auth.COST
auth.COST = auth.Cost(4, 8, 1)
