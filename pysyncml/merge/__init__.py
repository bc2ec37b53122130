"""Merging: saying in a line of text what changed, and putting two changed versions together."""

from __future__ import annotations

from pysyncml.errors import ConflictError, InvalidChangeSpec
from pysyncml.merge.changespec import apply_reverse, join_specs, text_spec
from pysyncml.merge.mergers import (
    AttributeMerger,
    AttributeMergerFactory,
    CompositeMerger,
    CompositeMergerFactory,
    Merger,
    MergerFactory,
    TextMerger,
    TextMergerFactory,
)
from pysyncml.merge.trackers import AttributeChangeTracker, ChangeTracker, ListChangeTracker

__all__ = [
    'AttributeChangeTracker',
    'AttributeMerger',
    'AttributeMergerFactory',
    'ChangeTracker',
    'CompositeMerger',
    'CompositeMergerFactory',
    'ConflictError',
    'InvalidChangeSpec',
    'ListChangeTracker',
    'Merger',
    'MergerFactory',
    'TextMerger',
    'TextMergerFactory',
    'apply_reverse',
    'join_specs',
    'text_spec',
]
