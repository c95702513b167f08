"""What comes with the package: templates, an atlas and other files, and one loader for them."""

from migxai.data.images import (
    MNI_SPACES,
    SPACE,
    Atlas,
    TemplateName,
    check_space,
    fetch_template,
    load_atlas,
    packaged,
    template,
)

__all__ = [
    "MNI_SPACES",
    "SPACE",
    "Atlas",
    "TemplateName",
    "check_space",
    "fetch_template",
    "load_atlas",
    "packaged",
    "template",
]
