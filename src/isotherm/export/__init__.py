"""Recordings in the forms of other programs."""
