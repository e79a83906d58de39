"""Bugs put into the shop from outside: no line of the product knows of them.

Each stands in `shelf/`: what a programmer thought, the few lines that he wrote so, and what must
find it. `python -m course.bugs` puts one after the other into a lab of its own, and tells.
"""
