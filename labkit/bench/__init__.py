"""Measuring: load, the floor below it, replay of real purchases. Nothing of the shop needs it."""
