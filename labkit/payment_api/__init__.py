"""What shop and payment platform both speak: signatures, keys, forms over HTTP."""
