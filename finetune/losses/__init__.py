"""Losses, divergences, and the balance of rare and frequent labels."""
