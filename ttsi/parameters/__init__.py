"""The parameters of tools, read once into a plain form that means the same to all who use it.

plain.py     a JSON Schema -> its plain form; what is not supported is refused by name
parts.py     the parts of a schema, and what they refer to
merging.py   several schemas that hold together, as one
keywords.py  the keywords that are supported
patterns.py  regular expressions, matched in linear time
embedding.py a plain schema within another
fitting.py   whether a value fits a plain schema
"""
