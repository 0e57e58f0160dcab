"""What templates are given: one frozen dataclass a template, filled from one snapshot; a module a noun.

`TEMPLATE` names the file; a test holds every template to the fields of its dataclass.
"""
