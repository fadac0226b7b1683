"""MONAI Label's own command line, on a MONAI that loads in a third of the time.

What `python -m monailabel.main` does; the command `sam2-ct` starts its servers so.
"""

import runpy

from lib.lean import load_monai

if __name__ == "__main__":
    load_monai()
    runpy.run_module("monailabel.main", run_name="__main__")
