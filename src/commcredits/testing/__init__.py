"""For tests of applications, storages and payment methods: contracts, strategies, faults. Needs the extra `testing`."""
