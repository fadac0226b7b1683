"""Serving several people at once: endpoint, guards, log-in, what of MONAI Label is exposed."""
