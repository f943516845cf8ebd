"""How Sphinx makes the site. Built by scripts/docs, with warnings as errors."""

from __future__ import annotations

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
