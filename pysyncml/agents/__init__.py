"""Items and the agents that keep them: the side of pysyncml that programs fill in."""

from __future__ import annotations

from pysyncml.agents.base import Agent, Ext, Item
from pysyncml.agents.file import BaseFileAgent, FileItem, FolderItem
from pysyncml.agents.note import BaseNoteAgent, NoteItem

__all__ = [
    'Agent',
    'BaseFileAgent',
    'BaseNoteAgent',
    'Ext',
    'FileItem',
    'FolderItem',
    'Item',
    'NoteItem',
]
