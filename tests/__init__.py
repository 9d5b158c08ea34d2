"""Tests of the package, the notebooks and the gates themselves."""
