"""Benchmarks: what asyncrep costs its user in CPU, time, memory and read units, beside its peers."""
