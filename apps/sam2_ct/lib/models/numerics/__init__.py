"""SAM 2's parts in a chosen precision: the same weights and mathematics, laid out for speed."""
