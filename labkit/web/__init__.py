"""HTTP entrances: decode, call a service, encode."""
