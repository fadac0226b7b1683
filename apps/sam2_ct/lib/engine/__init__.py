"""One way from a recipe to a result. Knows nothing of MONAI Label and HTTP.

`Pipeline.carry_out` takes a `Recipe` (all that decides a result) and gives an `Outcome`: a label
map and a typed `Report`. The command line, the server, the evaluation and the replay of a log call
nothing else.

Concurrency: requests of one device run one after the other (`jobs.JobBoard`, one worker each);
a `Pipeline` holds a lock around the network besides, since SAM 2 keeps mutable state; the bank of
encoded slices and the log of results have their own locks.
"""
