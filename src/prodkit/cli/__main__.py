"""`python -m prodkit.cli`."""

from prodkit.cli import main

if __name__ == "__main__":
    main()
