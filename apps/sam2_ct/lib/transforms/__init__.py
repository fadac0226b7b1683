"""From files to arrays and back: loading, windows, crops, saving."""
