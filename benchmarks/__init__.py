"""Measure provision_backend beside its peers; see `benchmarks.__main__`."""
