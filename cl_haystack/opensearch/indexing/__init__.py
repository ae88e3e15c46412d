"""The indexing job: documents embedded and written, nothing lost, nothing twice."""
