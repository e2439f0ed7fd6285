"""``python -m syncd``."""

from syncd.cli.syncd import main

if __name__ == "__main__":
    main()
