"""Tests of nerfreg's schedules."""
