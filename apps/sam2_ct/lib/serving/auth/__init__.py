"""Log-in from a file of users: for Slicer with a bearer token, for browsers with a cookie.

`users` the file · `passwords` hashes · `tokens` who is logged in · `tries` limits on guessing ·
`desk` the log-in itself · `gate` in front of every route · `routes` what viewers and people call ·
`roles` the seam with MONAI Label's own checks · `start` whether the server may start like this.
"""
