"""How the updates of a round become one model: a rule a file."""
