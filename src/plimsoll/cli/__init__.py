"""The door for hands: composes every room; imported by nobody.

May live here: commands, what they print, exit codes, and the wiring of a local run. May not:
decisions (policy), arithmetic (plan), HTTP (gateway) or processes (worlds).
"""
