"""A project's virtual machine: Linux with all that labs need, on hosts that cannot run them. Works on macOS as well."""
