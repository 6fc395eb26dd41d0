"""The live view: what is known moment by moment, laid out, printed, or drawn in a terminal."""
