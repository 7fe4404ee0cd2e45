"""Mechanisms: sandbox, namespaces, mounts, processes, netlink, nftables. Knows nothing of labs."""
