"""Predict for the rows of a file or a stream, and write the answers."""
