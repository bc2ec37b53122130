"""How classes are declared whose objects nobody changes once they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar('T')


@dataclass_transform(frozen_default=True)
def immutable(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Return a decorator that makes a class a dataclass with slots, whose objects stay as they are.

    That nobody sets an attribute is for the type checker to see to. A *frozen* dataclass looks
    out for that itself, and takes five times as long to make an object of: too long where each
    item of each message has several. Nor is code written for each class to compare its objects,
    which takes a program longer to start than all else that is done here.
    """

    def decorate(cls: type[T]) -> type[T]:
        made: Any = dataclass(slots=True, eq=False, repr=False, kw_only=kw_only)(cls)
        compared = [field.name for field in fields(made) if field.compare]
        shown = [field.name for field in fields(made) if field.repr]
        values = attrgetter(*compared) if compared else lambda thing: ()

        def equal(one: Any, other: object) -> Any:
            if one is other:
                return True
            if one.__class__ is not other.__class__:
                return NotImplemented
            return values(one) == values(other)

        def show(one: Any) -> str:
            parts = ', '.join(f'{name}={getattr(one, name)!r}' for name in shown)
            return f'{type(one).__qualname__}({parts})'

        made.__eq__, made.__repr__ = equal, show
        made.__hash__ = lambda one: hash(values(one))
        return made

    return decorate


__all__ = ['immutable']
