"""What crosses between server and clients: the door, queries, plans, messages, the ledger."""
