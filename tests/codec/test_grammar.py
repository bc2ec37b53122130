"""The table itself: complete, without contradictions, and the tokens are the right ones."""

from __future__ import annotations

import dataclasses

import pytest

from pysyncml.codec.grammar import ELEMENTS, INSIDE, MODELS, Kind, Page
from pysyncml.codec.node import Node
from pysyncml.codec.shapes import SHAPES
from pysyncml.codec.vocabulary import PUBLIC_IDS, PUBLIC_NAMES, canonical


@pytest.mark.parametrize(
    ('page', 'name', 'token', 'since'),
    [
        (Page.SYNCML, 'Add', 0x05, '1.0'),
        (Page.SYNCML, 'SyncML', 0x2D, '1.0'),
        (Page.SYNCML, 'TargetRef', 0x2F, '1.0'),
        (Page.SYNCML, 'VerProto', 0x32, '1.0'),
        (Page.SYNCML, 'MoreData', 0x34, '1.1'),
        (Page.SYNCML, 'Field', 0x35, '1.2'),
        (Page.SYNCML, 'Correlator', 0x3C, '1.2'),
        (Page.METINF, 'Anchor', 0x05, '1.0'),
        (Page.METINF, 'Version', 0x14, '1.0'),
        (Page.METINF, 'MaxObjSize', 0x15, '1.1'),
        (Page.METINF, 'FieldLevel', 0x16, '1.2'),
        (Page.DEVINF, 'CTCap', 0x05, '1.0'),
        (Page.DEVINF, 'Size', 0x1C, '1.0'),
        (Page.DEVINF, 'MaxSize', 0x1C, '1.2'),
        (Page.DEVINF, 'XVal', 0x27, '1.0'),
        (Page.DEVINF, 'SupportLargeObjs', 0x2A, '1.1'),
        (Page.DEVINF, 'NoTruncate', 0x2E, '1.2'),
        (Page.DEVINF, 'Filter-Rx', 0x30, '1.2'),
        (Page.DEVINF, 'SupportHierarchicalSync', 0x34, '1.2'),
    ],
)
def test_tokens(page, name, token, since):
    element = ELEMENTS[page, name]
    assert (element.token, element.since) == (token, since)


def test_a_token_stands_for_one_element():
    tokens = [(e.page, e.token) for e in ELEMENTS.values() if e.name != 'MaxSize']
    assert len(set(tokens)) == len(tokens) == 120


@pytest.mark.parametrize('model', MODELS.values(), ids=lambda model: model.name)
def test_models_fit_the_vocabulary_and_the_classes(model):
    names = [name for part in model.parts for name in part.choices or (part.name,)]
    assert len(set(names)) == len(names)
    for name in names:
        assert name in INSIDE[model.page]
    for part in model.parts:
        if part.kind in (Kind.MODEL, Kind.COMMAND):
            assert all(name in MODELS for name in part.choices or (part.name,))
        assert part.occurs in ('1', '?', '*', '+')
    if model.cls is not dict and (model.name not in SHAPES or model.name == 'Item'):
        known = {field.name for field in dataclasses.fields(model.cls)}
        assert {part.field for part in model.parts} <= known


def test_everything_has_a_place():
    parts = [part for model in MODELS.values() for part in model.parts]
    used = {name for part in parts for name in part.choices or (part.name,)}
    # Documents and their halves, what is looked through, what only the flat CTCap has.
    rest = {'SyncML', 'SyncHdr', 'SyncBody', 'DevInf', 'MetInf'}
    assert {name for _, name in ELEMENTS} - used == rest


def test_homes():
    assert INSIDE[Page.SYNCML]['Type'].page is Page.METINF
    assert INSIDE[Page.SYNCML]['SourceRef'].page is Page.SYNCML
    assert INSIDE[Page.DEVINF]['SourceRef'].page is Page.DEVINF
    assert INSIDE[Page.METINF]['SharedMem'].page is Page.METINF
    assert [page.code_page for page in Page] == [0, 1, 0]


def test_public_identifiers():
    assert PUBLIC_IDS[Page.SYNCML, '1.2'] == 0x1201
    assert PUBLIC_NAMES[Page.DEVINF, '1.1'] == '-//SYNCML//DTD DevInf 1.1//EN'
    assert PUBLIC_IDS.keys() == PUBLIC_NAMES.keys()


def test_spelling():
    assert canonical('DevId') == 'DevID'
    assert canonical('freeid') == 'FreeID'
    assert canonical('Odd') == 'Odd'


def test_nodes():
    tree = Node('Item', children=[Node('Data', 'x')])
    assert tree == Node('Item', children=[Node('Data', 'x')])
    assert tree != Node('Item') != 'Item'
    assert Node('Data', '') == Node('Data')
    assert repr(tree) == "Node('Item', [Node('Data', 'x')])"
