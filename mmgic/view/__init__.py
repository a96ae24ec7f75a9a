"""`mmgic view`: a local web page to look into the tables of a dataset."""
