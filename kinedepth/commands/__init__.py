"""The commands of the command line, one file each; heavy imports happen when a command runs."""
