"""Stored results: what is too heavy to run with the book, kept with all it takes to run it again.

A result is two files side by side: its recipe, a module such as `trainability_map`, and its samples,
``trainability_map.json``. `load_stored` returns the samples; ``tools/stored.py`` makes them and recomputes a part of
them. A recipe states

- ``GRID``: axes by name, one *cell*, one run of ``cell(**point)``, at each point;
- ``WITHIN``: the axes of the tensor that a cell returns;
- ``FILES``: data files of the package that the samples rest on, beside the code;
- ``TOLERANCE``: by how much half of the samples of a cell may differ when it is run again, on another machine perhaps;
- ``VERIFIED``, if it is not the whole grid: values of some axes, by name, to which that check keeps, because elsewhere
  rounding decides what comes out;
- ``cell``: what is run, with streams of its own, ``stream("stored/NAME", ...)``, on the CPU.
"""

from signalprop.stored.result import Stored, load_stored

__all__ = ["Stored", "load_stored"]
