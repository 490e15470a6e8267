"""The parts of the report for a browser: each file makes the data of one section."""
