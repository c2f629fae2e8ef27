"""Speaks HTTP; decides nothing about packets."""
