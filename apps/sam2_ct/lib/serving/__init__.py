"""Serving several people at once: queue, progress, cancelling, errors, and the log of results."""
