"""Figures, beside peers in the same run; never part of the tests. ``make bench`` runs all of them."""
