"""SAM 2's parts in half precision: the same weights and mathematics, laid out for speed."""
