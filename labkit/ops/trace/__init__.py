"""Draw what happened to one order, from the spans that every process left."""
