"""The parameters of tools, converted once into a plain form with one meaning for all users.

plain.py     a JSON Schema -> its plain form; unsupported keywords are refused by name
parts.py     the parts of a schema, and their references
merging.py   several schemas that hold together, merged into one
keywords.py  the keywords that are supported
patterns.py  regular expressions, matched in linear time
embedding.py a plain schema within another
fitting.py   whether a value fits a plain schema
"""
