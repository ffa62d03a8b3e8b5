"""Many runs as one table: what reproduce.py is made of."""
