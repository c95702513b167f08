"""Packaged templates and atlas, and one loader for them."""

from migxai.data.atlas import MNI_SPACES, Atlas, check_space, load_atlas
from migxai.data.templates import SPACE, fetch_template, template

__all__ = ["MNI_SPACES", "SPACE", "Atlas", "check_space", "fetch_template", "load_atlas", "template"]
