"""Similar images: an index, pairs, clusters, a map."""
