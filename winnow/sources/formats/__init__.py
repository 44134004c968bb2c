"""What several sources share: tars, shards by URL, tables, image files, splits and captions."""
