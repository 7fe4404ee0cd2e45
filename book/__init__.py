"""Builds docs/ into a site and checks it: `make docs`. Zensical makes the pages, everything else is here."""
