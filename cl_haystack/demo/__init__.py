"""The whole circle as one command, on text that every machine has or on the user's own corpus."""

from cl_haystack.demo.circle import Demo, DemoResult

__all__ = ["Demo", "DemoResult"]
