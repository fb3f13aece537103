"""The pages. Each is a function from a view to what Streamlit shows; what they ask for is in the metrics.

The package is not called ``pages``: Streamlit takes files in a folder of that name for programs of their own.
"""
