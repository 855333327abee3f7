"""What happens between clients and server: messages, sums, rounds, engines, algorithms."""
