"""The current release in PostgreSQL, where BI tools ask for it: the same tables, changed in one transaction.

``refresh`` is the transaction, ``shape`` what a contract becomes there, ``rows`` how rows arrive, ``held`` what
PostgreSQL remembers of the release that it holds. Nothing of a run or a release waits for it or fails with it.
"""
