"""The pages. Each is a function from a view to what Streamlit shows; what they ask for is in the metrics."""
