"""How classes are declared whose objects nobody changes once they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar('T')


@dataclass_transform(frozen_default=True)
def immutable(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Return a decorator that makes a class a dataclass with slots, whose objects stay as they are.

    That nobody sets an attribute is for the type checker to see to. A *frozen* dataclass looks
    out for that itself, and takes five times as long to make an object of: too long where each
    item of each message has several.
    """
    return dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)


__all__ = ['immutable']
