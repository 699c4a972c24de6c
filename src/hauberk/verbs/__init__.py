"""The library's verbs: what a user does with a network."""
