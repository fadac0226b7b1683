"""Where one more painted slice would help most."""
