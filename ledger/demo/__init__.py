"""The sample: files of account changes that five source systems would send, wrong rows included.

1. The same arguments give the same files, byte for byte; no clock is asked, so posting it again records nothing.
2. A person's rows do not depend on how many people or months there are: a larger sample contains the smaller one.
3. Nobody is real: persons are numbers of the source systems.

Person 0 holds an account in each of the five systems. Persons 1 and 2 are taken for one by mistake, and parted again.
"""

from ledger.demo.people import Row
from ledger.demo.sample import Sample, write_sample

MAX_PEOPLE = 1_000_000
MAX_MONTHS = 60

__all__ = ["MAX_MONTHS", "MAX_PEOPLE", "Row", "Sample", "write_sample"]
