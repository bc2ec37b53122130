"""What XML can carry."""

from __future__ import annotations

from pysyncml.codec.values import CONTROL, UNSAFE


def test_every_character_is_judged_as_the_specification_says():
    """XML 1.0 §2.2, production 2; and CR, which does not survive being parsed (§2.11)."""
    allowed = [
        0x9,
        0xA,
        0xD,
        *range(0x20, 0xD800),
        *range(0xE000, 0xFFFE),
        *range(0x10000, 0x110000),
    ]
    others = ''.join(map(chr, sorted({*range(0x110000)} - {*allowed})))
    everything = ''.join(map(chr, range(0x110000)))
    assert ''.join(CONTROL.findall(everything)) == others
    assert ''.join(UNSAFE.findall(everything)) == ''.join(sorted(others + '\r'))
