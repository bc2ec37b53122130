"""The memory between messages: devices, datastores, bindings, changes, mappings and sessions."""

from pysyncml.state.database import Database
from pysyncml.state.work import Publisher, UnitOfWork

__all__ = ['Database', 'Publisher', 'UnitOfWork']
