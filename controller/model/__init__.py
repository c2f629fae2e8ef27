"""What people asked for."""
