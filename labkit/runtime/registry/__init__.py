"""The registry: which instances serve, and who makes ids under which worker number."""
