"""A door to `sam2-ct segment`: one volume and some prompts in, one label map out."""

from lib.commands.main import main

if __name__ == "__main__":
    main("segment")
