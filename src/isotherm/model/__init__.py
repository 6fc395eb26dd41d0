"""The nouns of isotherm: frozen values, no I/O."""
