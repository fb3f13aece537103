"""How the outside is read: the order system's database, and its values made to fit their declared types."""
