"""The events of a command line program, and the methods that want to be told of them.

:data:`HOOKS` *is* the documentation: every event, in the order in which they fire, with its
arguments. A method of an engine is tagged with :func:`hook`; the name and the number of
arguments are checked while the class is being written, not when the event comes.

Order of the calls of one event: tagged methods, those of base classes first, then as written in
the class; an overridden method is called once, as overridden. Then what the ``hooks`` argument of
the engine names, then what :meth:`HookHost.addHook` added. Hooks are told things; what they
return is ignored. A hook that raises ends the program with the hook's name in the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, ClassVar, NamedTuple, TypeVar

from pysyncml.errors import SyncmlError, refusal_of_system

_Function = TypeVar('_Function', bound=Callable[..., Any])


class HookSpec(NamedTuple):
    """One event: its name, the names of its arguments, and when it fires."""

    name: str
    args: tuple[str, ...]
    text: str


HOOKS: dict[str, HookSpec] = {
    spec.name: spec
    for spec in (
        HookSpec('options.setup.init', (), 'the parser exists; no option was added'),
        HookSpec('options.setup.generic', (), '--version, --verbose and --quiet were added'),
        HookSpec('options.setup.term', (), 'the parser is complete; add your own options'),
        HookSpec('options.parse.init', (), 'the arguments are about to be parsed'),
        HookSpec('options.parse.datadir', (), 'parsed once; somebody must set dataDir now'),
        HookSpec('options.persist.load', ('options',), 'remembered options became defaults'),
        HookSpec('options.parse.term', (), 'the options are final'),
        HookSpec('options.persist.save', ('options',), 'put in what is to be remembered'),
        HookSpec('model.setup.init', (), 'dbengine and dbsession are ready'),
        HookSpec('model.setup.extend', (), 'the model exists; add your own classes'),
        HookSpec('model.setup.term', (), 'the tables exist'),
        HookSpec('adapter.create.init', (), 'an adapter is wanted'),
        HookSpec('adapter.create.context', ('context',), 'the context is ready'),
        HookSpec('adapter.create.adapter', ('context', 'adapter'), 'the adapter exists'),
        HookSpec('adapter.create.peer', ('context', 'adapter', 'peer'), 'client: peer is known'),
        HookSpec(
            'adapter.create.store',
            ('context', 'adapter', 'store'),
            'the store exists; register local changes',
        ),
        HookSpec('adapter.create.term', ('context', 'adapter'), 'the adapter is complete'),
        HookSpec('describe', ('stream',), 'only --describe; write about the program'),
        HookSpec('server.start', ('server',), 'the server listens'),
        HookSpec('sync.start', ('adapter', 'mode'), 'client: the first message is about to leave'),
        HookSpec('sync.term', ('adapter', 'stats'), 'client: the synchronisation has ended'),
        HookSpec('server.stop', ('server',), 'the server listens no more'),
    )
}


class HookError(SyncmlError):
    """A hook of the program failed."""


def check_name(name: str) -> HookSpec:
    """Return the event called *name*; raise :class:`LookupError` with a near name if none is."""
    if name in HOOKS:
        return HOOKS[name]
    import difflib

    near = difflib.get_close_matches(name, HOOKS, n=1)
    hint = f': did you mean "{near[0]}"?' if near else ''
    raise LookupError(f'there is no hook "{name}"{hint}')


def _check_arity(spec: HookSpec, function: Callable[..., Any], extra: int) -> None:
    if isinstance(function, FunctionType):
        code = function.__code__
        if code.co_argcount == extra + len(spec.args) and not code.co_kwonlyargcount:
            return
    import inspect  # takes long to import, and what is usual is clear without

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: nothing to be known
        return
    try:
        signature.bind(*range(extra + len(spec.args)))
    except TypeError:
        wanted = ', '.join((('self',) if extra else ()) + spec.args)
        raise TypeError(
            f'{_name_of(function)}{signature} cannot be called for the hook "{spec.name}": '
            f'it must take ({wanted})'
        ) from None


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, '__qualname__', None) or repr(function)


def hook(name: str) -> Callable[[_Function], _Function]:
    """Tag a method of an engine to be called when the event *name* comes; tags may be stacked.

    Raises:
        LookupError: there is no such event.
        TypeError: the method cannot take the arguments of the event.
    """
    spec = check_name(name)

    def tag(function: _Function) -> _Function:
        _check_arity(spec, function, 1)
        tags = getattr(function, '_pysyncml_hooks', ())
        # decorators apply from the bottom up, tags are read from the top down
        function._pysyncml_hooks = (name, *tags)  # type: ignore[attr-defined]
        return function

    return tag


class HookHost:
    """An object whose tagged methods are called for events."""

    _tagged: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        tagged: dict[str, tuple[str, ...]] = {}
        for base in reversed(cls.__mro__):
            for attribute, value in vars(base).items():
                tags = getattr(value, '_pysyncml_hooks', ())
                if tags:
                    tagged[attribute] = tags
                elif attribute in tagged and not callable(value):
                    del tagged[attribute]  # "method = None" in a subclass: not wanted there
        cls._tagged = tagged

    def addHook(self, name: str, function: Callable[..., Any]) -> None:
        """Call *function* for the event *name*, after all that is registered so far.

        Raises :class:`LookupError` and :class:`TypeError` as :func:`hook` does.
        """
        _check_arity(check_name(name), function, 0)
        self._added_hooks().setdefault(name, []).append(function)

    def addHooks(self, hooks: Iterable[tuple[str, Iterable[Callable[..., Any]]]]) -> None:
        """Add all functions of a list of (name, functions)."""
        for name, functions in hooks:
            for function in [functions] if callable(functions) else functions:
                self.addHook(name, function)

    def getHooks(self, name: str, default: Any = None) -> Any:
        """Return the functions for the event *name* in order; *default* if there are none."""
        check_name(name)
        methods = [getattr(self, method) for method, tags in self._tagged.items() if name in tags]
        return methods + self._added_hooks().get(name, []) or default

    def _added_hooks(self) -> dict[str, list[Callable[..., Any]]]:
        added: dict[str, list[Callable[..., Any]]] = self.__dict__.setdefault('_added', {})
        return added

    def fire(self, name: str, *args: Any) -> None:
        """Tell all hooks of the event *name*.

        A method called ``_callHooks_`` and the name with underscores for dots replaces the
        whole of it. Errors of the :class:`SyncmlError` tree pass as they are, for they mean
        something, and so does what the system refuses; any other becomes a :class:`HookError`
        that names the hook.
        """
        check_name(name)
        replacement = getattr(self, '_callHooks_' + name.replace('.', '_'), None)
        for function in [replacement] if replacement else self.getHooks(name, ()):
            try:
                function(*args)
            except SyncmlError:
                raise
            except Exception as error:
                if refusal_of_system(error) is not None:
                    raise
                said = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
                raise HookError(f'hook "{name}" ({_name_of(function)}) failed: {said}') from error
