"""What the command line does, one command a file; each has ``add(subparsers)``."""
