"""What is asked of a model, and labelled rows, in the notations of files and of OpenAI's API.

keys.py       known keys, and texts
lines.py      the lines of a file
tools.py      tools on offer
calls.py      calls in references and in the assistant's turns
messages.py   conversations
rendering.py  the system turn that lists tools
reading.py    the rows of a file, as samples
"""
