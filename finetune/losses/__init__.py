"""Losses, and what is done about rare labels."""
