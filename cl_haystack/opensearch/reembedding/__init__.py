"""Another model for the documents behind an alias, while they are written and searched: :mod:`.reembed`."""
