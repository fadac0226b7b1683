"""The engine and its faces; ARCHITECTURE.md says what is where."""

import os

# Threads of torch that wait by spinning take the cores from every other process: beside three
# busy ones a 59-slice propagation took 48 s instead of 2. Read when torch loads, so set here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
