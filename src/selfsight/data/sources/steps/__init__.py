"""Steps that sources share: columns to targets, names to splits, files and arrays to listings."""
