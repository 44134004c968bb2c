"""Shards, the index, uids, views of pixels and the order in which they are seen."""
