"""Leaderboards that strangers can submit to and check (DESIGN section 10).

submission.py  what a submission is: names, place, files; read back whole or not at all
safe.py        a stranger's files: bounded before they are read, never followed, never executed
faults.py      one thing that is wrong with a submission, and messages about strangers' text
publishing.py  what of a run may be published
submit.py      a finished run -> a submission, verified before it is put in place
verify.py      submissions -> every fault of theirs
check_evidence.py   what no board goes without: identity, proof of the reset, base answers
check_identity.py, check_sessions.py, check_run.py, check_records.py, check_method.py
               what verification looks at
sources.py     benchmark and scorer, from what is installed here
entries.py     what a board shows of a submission
comparable.py  what two entries must have in common to share a board, and which have no rank
boards.py      entries that can be compared, in order
render.py      boards as JSON, tables and a page
readme.py, view.py, page/   what the tables and the page show
"""
