"""Mutation testing: realistic bugs are planted one at a time, and a named check or a load error must stop each.

``make mutate``; see ``__main__``.
"""
