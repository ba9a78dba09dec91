"""Exercises made from a tape."""
