"""What to do about a message: pairing, deciding, doing, and what is still to be said."""

from pysyncml.sync.parties import Parties
from pysyncml.sync.turn import turn

__all__ = ['Parties', 'turn']
