"""Making a pool: a source in, shards, an index and a list of dropped examples out."""
