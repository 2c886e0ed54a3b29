"""Settings of Sphinx. Building needs no network."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "mpiens"
author = "The mpiens authors"
copyright = author
version = release = installed_version("mpiens")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference_tables"]
exclude_patterns = ["_build", "_ext"]
html_theme = "furo"
html_title = f"mpiens {version}"

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True

# Names of other projects, whose pages are not looked up, and of types that have no page of their own.
nitpick_ignore_regex = [
    ("py:.*", r"(h5py|mpi4py|numpy|np|pandas|pd|xarray|xr|matplotlib|pathlib|collections|typing|MPI)\b.*"),
    (
        "py:.*",
        r"(Path|Any|Sequence|Mapping|Iterator|Literal|Protocol|TracebackType|NoReturn|Axes|Mode|Params|RunState|(mpiens\.trial\.)?TrialState|(mpiens\.reports\.)?Reports?)",
    ),
]
