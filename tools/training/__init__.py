"""Training the built-in checkpoint."""
