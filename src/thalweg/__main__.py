"""``python -m thalweg`` is the command ``thalweg``."""

from thalweg.cli import entry

if __name__ == "__main__":
    entry()
