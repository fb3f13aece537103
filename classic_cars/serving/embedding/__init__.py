"""A customer's own orders inside the retailer's shop: signed links that expire, and the server that answers them.

The link is the only credential, and names the only customer that it shows; nothing else of a request is looked at.
"""
