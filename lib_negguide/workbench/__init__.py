"""The workbench: small strips of pictures from one seed that show what a negative does. Host-free.

:mod:`.form` is what is asked for, :mod:`.strips` the cells of a strip as settings, :mod:`.outcome` makes them by a host's painter,
:mod:`.runs` keeps them on disk, :mod:`.sheet` draws them, :mod:`.report` writes them as one HTML file.
"""
