"""A backend of PEP 517 that knows nothing of PEP 660."""

from minimal import (
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_wheel,
)
