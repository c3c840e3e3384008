"""Leaderboards that anyone can submit to and check.

submission.py  a submission's names, place and files, and how it is read
safe.py        reads untrusted files: sizes are bounded, links not followed, nothing executed
faults.py      a fault of a submission, and how untrusted text is quoted in messages
publishing.py  which parts of a run may be published
sizes.py       whether a run is small enough for a board
submit.py      a finished run -> a submission, verified before it is put in place
verify.py      submissions -> all their faults
check_evidence.py   evidence that every board requires: identity, proof of the reset, base answers
check_identity.py, check_sessions.py, check_run.py, check_records.py, check_method.py,
check_episodes.py, check_dates.py, check_costs.py, check_doubles.py, check_names.py
               the other checks of one submission
together.py    checks of submissions against each other: copies, names that look alike
sources.py     benchmark and scorer, from the plugins installed here
entries.py     what a board shows of a submission
comparable.py  what two entries must have in common to share a board, and which have no rank
boards.py      entries that can be compared, in order
render.py      boards as JSON, tables and a page
readme.py, view.py, page/   what the tables and the page show
"""
