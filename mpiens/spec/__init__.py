"""spec.yaml: its form, reading it, and the checks that can be made before a run. Workers never import this."""

from mpiens.spec.available import check_available
from mpiens.spec.files import check_files
from mpiens.spec.load import LoadedSpec, load_spec, parse_spec
from mpiens.spec.schema import Spec

__all__ = ["LoadedSpec", "Spec", "check_available", "check_files", "load_spec", "parse_spec"]
