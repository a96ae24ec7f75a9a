"""Cleaning (Appendix F.2): which images, objects, attributes and relationships stay, under which labels.

Labels are judged by their frequency in the whole dataset, and what counts depends on what was removed before, so
cleaning passes over a dataset's rows three times. With the rows of ONE source in any number of batches:

    counts += count_objects(batch, source, cleaning)                       # LabelCounts() before the first batch
    labels = kept_labels(counts, source, cleaning)                         # small; send it to every worker
    counts += count_predicates(batch, labels, source, cleaning)
    labels = kept_labels(counts, source, cleaning)
    row = clean_image(row, labels, cleaning)                               # for every kept row

The counting passes take all rows of the source, also those set aside: they know which ones count. The order of the
rules is the paper's: detection sets count labels before anything is removed; Visual Genome first removes images, then
objects of several synsets and bad boxes, then rare (label, synset) pairs, then counts the attributes and relationships
of what is left, and splits off the benchmarks' images last.
"""
