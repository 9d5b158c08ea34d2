"""Tests of the built site in a browser: ``make book``, then ``pytest -m browser``."""
