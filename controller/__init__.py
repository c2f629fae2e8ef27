"""Knows switches and values; knows no feature."""
