"""The page at /sam2_ct/: what the server does, what came of it, and what to do next.

`routes` the page and its files · `events` what is pushed to it · `look` what a caller may see of
jobs, queues and batches · `studies` the list of studies · `results` the newest results, `drawing`
their pictures, `result_routes` both over HTTP.
"""
