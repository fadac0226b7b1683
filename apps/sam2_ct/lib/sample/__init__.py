"""The sample CT: who lies on the table, of what bones and tissues, and what the scanner sees."""
