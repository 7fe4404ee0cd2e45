"""What a machine's disk starts from: an image built from Debian's packages, or one that is downloaded or given."""
