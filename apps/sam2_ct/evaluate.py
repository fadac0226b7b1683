"""A door to `sam2-ct evaluate`: a dataset in, the paper's tables and figures out."""

from lib.commands.main import main

if __name__ == "__main__":
    main("evaluate")
