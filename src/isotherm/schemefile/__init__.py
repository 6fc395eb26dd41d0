"""Schemes as people write them: lines, documents, damo's files; presets and explanations."""
