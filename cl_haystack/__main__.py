"""``python -m cl_haystack``: the command line, for launchers such as torchrun that start a module."""

from cl_haystack.cli.main import main

if __name__ == "__main__":
    main()
