"""How Sphinx makes the site. Built by scripts/docs, with warnings as errors."""

from __future__ import annotations

import re
from typing import Any, List

project = "provision_backend"
author = "The provision_backend contributors"
html_title = "provision_backend"

extensions = ["myst_parser"]
exclude_patterns = ["requirements.txt"]
nitpicky = True

# Every heading down to this level can be linked to, as it can where Markdown is shown without Sphinx.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# Quotes are those of the messages and files that are quoted.
smartquotes = False

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_use_index = False
# Nothing of the site is fetched from elsewhere when it is read.
html_theme_options = {"top_of_page_buttons": []}
# Both have a contrast of at least 4.5 to 1 in every token, comments and output of programs too.
pygments_style = "a11y-light"
pygments_dark_style = "github-dark"


def show_what_was_not_run(_app: Any, _page: str, source: List[str]) -> None:
    """Make the comment that says why the tests do not run a block a sentence of the page."""
    source[0] = re.sub(
        r"^( *)<!-- not run: (.+) -->$", r"\1*Our tests do not run this: \2.*\n", source[0], flags=re.MULTILINE
    )


def setup(app: Any) -> None:
    """Add what is above to Sphinx."""
    app.connect("source-read", show_what_was_not_run)
