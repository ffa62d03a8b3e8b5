"""The tests; a package, so that rooms may use the same file names and share :mod:`tests.golden`."""
