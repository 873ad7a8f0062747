"""Residents ask, Linli answers: conversations, turns and the road from a question to a grounded answer."""
