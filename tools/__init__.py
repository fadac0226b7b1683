"""Making the built-in checkpoint."""
