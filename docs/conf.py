"""How the documentation is built: Sphinx with MyST Markdown, warnings are errors."""

project = "MeteorPi"
author = "The MeteorPi developers"
copyright = "The MeteorPi developers"  # noqa: A001  # the name that Sphinx reads
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "An open network of sensor nodes", "fixed_sidebar": True}
autodoc_typehints = "description"
autodoc_member_order = "bysource"
