"""Tests of nerfreg's integrations."""
