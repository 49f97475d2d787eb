"""Running a script as Python itself would, and ending it where enough has been seen."""
