"""Read and drive a lab from outside, as command line, console, matrix and notebooks do."""
