"""The programs that are measured, one module each: `python -m benchmarks.contestants.NAME URL`."""
