"""A package to start a plugin from: complete, and it passes its own tests as it is written.

names   what a person calls it -> distribution, module, class
kinds   what the plugin of each kind does at first, and a spec that uses it
package the files, rendered and written
templates/  one folder a kind: the module and its tests; common/: what every package has
"""
