"""Training the built-in checkpoint, with the app's own memory policies and engine."""

import sys
from pathlib import Path

APP = Path(__file__).parents[2] / "apps" / "sam2_ct"
sys.path.insert(0, str(APP))
