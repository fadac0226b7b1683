"""The paper's tables from a dataset: split, run, report; the engine is the one that is served."""
