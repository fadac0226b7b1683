"""Options, each declared once, and what the person who starts the server decided."""
