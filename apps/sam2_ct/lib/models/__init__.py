"""Which weights there are, how they get here, and the predictor made of them."""
