"""An OpenAI-compatible endpoint on Algorithm 1; `ttsi serve` runs it.

served.py         what is served: names, prompts, bounds
refusals.py       errors in OpenAI's form
fields.py         the fields of a body, and their faults
conversations.py  messages and tools of a request -> a conversation
chats.py          a request for a chat completion -> tasks
texts.py          a request for a plain completion -> texts to write
tickets.py        one answer that a client waits for
waves.py          requests that arrive together are a wave; queue, deadlines, hang-ups
solving.py        the thread that has the model
answers.py        answers as OpenAI's objects, and their receipts
writing.py        the part of a text under way that will not change
streams.py        answers as server-sent events
logs.py           the journal and the labelled rows, whole after a crash
feedback.py       what clients say of answers -> labelled rows
metrics.py        counts for Prometheus
app.py            routes
server.py         socket, signals, start and end
"""
