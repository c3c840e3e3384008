"""A complete package to start a plugin from, which passes its own tests as written.

names   from the name that a person gives to distribution, module and class
kinds   what the first plugin of each kind does, and a spec that uses it
package renders and writes the files
templates/  a folder for each kind with the module and its tests; common/: files of every package
"""
