"""How the documentation is built: ``make docs``, without anything from the network."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / '_ext')]

import pysyncml  # noqa: E402 - the path must be set first

project = 'pysyncml'
author = 'the pysyncml authors'
copyright = author
release = pysyncml.versionString
version = '.'.join(release.split('.')[:2])

extensions = ['sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'peer_table', 'stage_table']
exclude_patterns = ['_build', '_ext']

html_theme = 'alabaster'
html_theme_options = {
    'description': 'Keep things in step between devices: SyncML (OMA DS) in Python',
    'fixed_sidebar': True,
    'page_width': '1080px',
    'sidebar_width': '230px',
}
html_sidebars = {'**': ['about.html', 'navigation.html', 'relations.html', 'searchbox.html']}
html_show_sourcelink = False

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
autodoc_class_signature = 'mixed'
highlight_language = 'none'
smartquotes = False
