"""One vocabulary for what a person marked."""
