"""What to look at next: a slice of this volume, or another volume."""
