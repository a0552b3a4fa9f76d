"""The settings of the runs that the tests of commands learn."""

SMALL = ("--size", 16, "--width", 8, "--num-steps", 2, "--iterations", 4, "--precision", "float32")
