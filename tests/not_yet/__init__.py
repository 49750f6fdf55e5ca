"""What the library does not have yet, each in the one file that it would take: a year, a backend, two methods."""
