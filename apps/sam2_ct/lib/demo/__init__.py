"""The demo: a sample CT through the real server, and a picture of what came back."""
