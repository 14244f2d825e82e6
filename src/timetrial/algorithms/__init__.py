"""Training algorithms that come with timetrial, one file each; any may be run as `--submission NAME`."""
