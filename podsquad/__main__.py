"""``python -m podsquad`` is the ``podsquad`` command."""

from podsquad.cli import main

if __name__ == "__main__":
    main()
