"""The version of this package, written once: the build reads it from here. It refuses to know anything else."""

__version__ = "0.1.0"
