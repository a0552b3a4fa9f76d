"""The settings of the runs that bad input is tried on."""

SMALL = ("--size", 16, "--width", 8, "--num-steps", 1, "--iterations", 2, "--precision", "float32", "--quiet")
