"""Pictures of recordings, as files and as pages: drawn without any library for it."""
