"""How Sphinx makes the documentation site: ``make docs`` (decision 0021)."""

from __future__ import annotations

from importlib.metadata import version as version_of
from types import BuiltinFunctionType, MethodDescriptorType

from sphinx.application import Sphinx

project = "crdt-conv"
author = "The crdt-conv authors"
# "copyright" would be Sphinx's name for it, and hide a builtin.
project_copyright = author
version = release = version_of("crdt-conv")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Links to headings are written as GitHub shows them.
myst_heading_anchors = 4
exclude_patterns = ["requirements.txt"]

# Names as a user imports them: where they are defined is ours to change.
add_module_names = False
python_use_unqualified_type_names = True
autodoc_default_options = {
    "members": True,
    # A conversation's methods stand in several private bases.
    "inherited-members": True,
}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "crdt-conv"
# Furo brings its fonts and scripts along: a reader's visit is told to nobody.
html_show_sphinx = False
html_copy_source = False


def is_python_s(
    _app: Sphinx, _what: str, _name: str, thing: object, skip: bool | None, _options: object
) -> bool | None:
    """Leave out what a class has from Python's own: the methods of ``str``, say."""
    return True if isinstance(thing, MethodDescriptorType | BuiltinFunctionType) else skip


def setup(app: Sphinx) -> None:
    """Have Sphinx ask."""
    app.connect("autodoc-skip-member", is_python_s)
