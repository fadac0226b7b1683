"""What is shown of a volume and a result: pictures of planes, and plots along an axis."""
