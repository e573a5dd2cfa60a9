"""`python -m september` is the same as `september`."""

from .cli import main as main

if __name__ == "__main__":
    main()
