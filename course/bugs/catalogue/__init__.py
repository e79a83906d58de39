"""The bugs, by what they are about. An unnamed function stands where it is said above it."""
