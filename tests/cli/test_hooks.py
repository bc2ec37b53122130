import pytest

from pysyncml.cli.hooks import HOOKS, HookError, HookHost, hook
from pysyncml.errors import StoreEmpty


class Base(HookHost):
    def __init__(self):
        self.told = []

    @hook('describe')
    def zebra(self, stream):
        self.told.append('zebra')

    @hook('describe')
    def apple(self, stream):
        self.told.append('apple')


class Derived(Base):
    @hook('describe')
    def first(self, stream):
        self.told.append('first')

    def apple(self, stream):
        self.told.append('apple, overridden')


def test_base_classes_come_first_then_the_written_order_and_overridden_methods_once():
    engine = Derived()
    engine.fire('describe', None)
    assert engine.told == ['zebra', 'apple, overridden', 'first']


def test_added_hooks_come_after_the_methods():
    engine = Base()
    engine.addHooks([('describe', [lambda stream: engine.told.append('listed')])])
    engine.addHook('describe', lambda stream: engine.told.append('added'))
    engine.fire('describe', None)
    assert engine.told == ['zebra', 'apple', 'listed', 'added']
    assert len(engine.getHooks('describe')) == 4
    assert engine.getHooks('server.stop', 'none') == 'none'


def test_a_method_with_several_tags_is_called_for_each():
    class Engine(HookHost):
        told = 0

        @hook('options.parse.init')
        @hook('options.parse.term')
        def both(self):
            self.told += 1

    engine = Engine()
    engine.fire('options.parse.init')
    engine.fire('options.parse.term')
    assert engine.told == 2


def test_a_subclass_can_tag_a_method_anew_or_drop_it():
    class Engine(Base):
        zebra = None

        @hook('server.start')
        def apple(self, server):
            self.told.append('at the start')

    engine = Engine()
    engine.fire('describe', None)
    engine.fire('server.start', None)
    assert engine.told == ['at the start']


def test_callHooks_replaces_the_whole_event():
    class Engine(Base):
        def _callHooks_describe(self, stream):
            self.told.append('instead')

    engine = Engine()
    engine.fire('describe', None)
    assert engine.told == ['instead']


def test_an_unknown_event_is_refused_at_import_with_a_near_one():
    with pytest.raises(LookupError, match=r'did you mean "adapter\.create\.store"'):
        hook('adapter.create.stor')
    with pytest.raises(LookupError, match='no hook'):
        Base().addHook('zzz', print)


def test_wrong_arguments_are_refused_at_import():
    with pytest.raises(TypeError, match=r'"describe".*\(self, stream\)'):

        @hook('describe')
        def describe(self):
            """Take too little."""

    with pytest.raises(TypeError, match=r'\(adapter, stats\)'):
        Base().addHook('sync.term', lambda adapter: None)
    hook('describe')(lambda *anything: None)


def test_an_error_names_its_hook_but_errors_with_a_meaning_keep_it():
    class Engine(HookHost):
        error = ValueError('no good')

        @hook('model.setup.term')
        def fails(self):
            raise self.error

    engine = Engine()
    with pytest.raises(HookError, match=r'"model.setup.term" \(.*fails\).*ValueError: no good'):
        engine.fire('model.setup.term')
    engine.error = StoreEmpty('all gone')
    with pytest.raises(StoreEmpty):
        engine.fire('model.setup.term')


def test_two_engines_do_not_share_added_hooks():
    one, other = Base(), Base()
    one.addHook('describe', print)
    assert len(other.getHooks('describe')) == 2


def test_every_event_of_the_table_is_described():
    assert len(HOOKS) == 22
    assert all(spec.text for spec in HOOKS.values())
