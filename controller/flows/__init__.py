"""What every switch should hold."""
