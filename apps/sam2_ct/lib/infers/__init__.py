"""The tasks a viewer calls: they translate its request, and call the engine."""
