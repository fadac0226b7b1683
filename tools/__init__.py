"""Making the sample CT and the built-in checkpoint."""
