"""``python -m kinedepth``: the command line, also for launchers such as torchrun."""

from kinedepth.cli import main

if __name__ == "__main__":
    main()
