"""The dashboard: the answers where analysts look, and how far they can be trusted. Reads releases and metrics only.

``serve`` starts it, ``app`` is what Streamlit carries out for each view. What is shown is made by functions without
Streamlit: ``filters`` and ``shapes`` make questions, ``charts`` and ``markup`` make pictures, ``trust`` and ``quality``
read what is known of the data. ``asking``, ``controls``, ``panels`` and ``views`` put them on the page.
"""
