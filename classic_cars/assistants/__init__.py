"""Assistants: what a language model may ask of the warehouse, and what it is told.

``extract`` copies the current release without personal data; ``worker`` is a process that answers one question from
that copy and can reach nothing else; ``sandbox`` starts it and bounds it; ``tools`` are the questions; ``server``
speaks the Model Context Protocol. What must not be told is not there to be asked for: no statement is searched for bad
words.
"""
