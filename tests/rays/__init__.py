"""Tests of nerfreg's rays."""
