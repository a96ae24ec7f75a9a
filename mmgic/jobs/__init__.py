"""The jobs: each module is `mmgic <its name>`, and a script of jobs/ for `ray job submit`.

A module holds its description, `main(settings, flags)`, and `add_flags(parser)` if it takes more than the flags of
settings. It says what is done and in which order; the work is the library's.
"""
