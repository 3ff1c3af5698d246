"""Storages that last: on a connection or a pool of the caller's own."""
