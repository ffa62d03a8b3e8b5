"""Tests of nerfreg's losses."""
