"""Measure: load, the floor beneath it, replay of real purchases. Nothing in labkit needs it."""
