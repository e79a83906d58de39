"""One service and its database: transactions, group commit, statements, operations."""
