"""Pages of HTML: one file that needs no network, whatever stands in the recording."""
