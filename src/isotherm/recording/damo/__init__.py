"""damo's records, read and written."""
