"""A run in the browser: its cameras, its unseen patches, and the field from anywhere."""
