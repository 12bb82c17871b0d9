"""General helpers, on which all other packages may depend."""
