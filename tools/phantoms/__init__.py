"""Bodies described by formulas: shapes for the sample CT and for training."""
