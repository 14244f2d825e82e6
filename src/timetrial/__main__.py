"""`python -m timetrial` is the `timetrial` command."""

from timetrial.cli.main import main

if __name__ == "__main__":
    main()
