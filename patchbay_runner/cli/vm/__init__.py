"""The commands of `patchbay-vm`."""
