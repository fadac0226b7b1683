"""Loading MONAI without what nothing here needs of it.

`import monai` imports every part of itself, and with them whichever of its optional packages are
installed; MONAI Label's requirements install them all. That is most of the start: of 4.9 s of
processor time, 3.6 (mlflow, Transformers, ignite and what these pull in).
"""

from __future__ import annotations

import sys

#: What MONAI tries to import for handlers, networks and readers that are not used here.
_OPTIONAL = (
    *("mlflow", "transformers", "ignite", "tensorboard", "matplotlib", "openslide", "pandas"),
    *("sklearn", "scipy.signal"),
)


def load_monai() -> None:
    """Import MONAI as if its optional packages were not installed.

    They can be imported afterwards; what MONAI would have done with them raises its
    `OptionalImportError`. If MONAI is loaded already, nothing happens.
    """
    if "monai" in sys.modules:
        return
    hidden = {name for name in _OPTIONAL if name not in sys.modules}
    sys.modules.update(dict.fromkeys(hidden))  # None there makes their import fail
    try:
        import monai  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]
