"""What many tasks on one backbone cost, and whether the server keeps its word while tasks come and go."""
