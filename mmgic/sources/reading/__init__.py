"""Files of datasets as streams of records: JSON, lines, tables, tar shards."""
