"""The case library: what others like her have, in figures that no difference of two answers can open."""
