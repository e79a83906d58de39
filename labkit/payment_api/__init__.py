"""The protocol between shop and payment platform: signatures, keys, forms over HTTP."""
