"""What can be made to fail inside a process: failpoints, and faults that stand."""
