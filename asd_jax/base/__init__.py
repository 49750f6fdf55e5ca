"""What every command needs around its work.

cli: parsing of flags, and a mistake reported in one sentence.
errors: mistakes of people, which end in one sentence.
files: writing files that nobody ever sees half-written.
interrupt: Ctrl-C ends a command with one line.
locks: one writer at a time in a folder.
progress: progress bars, in a log file a line now and then.
stored_json: JSON files read back and checked.
threads: work on threads, a bounded number of results ahead.
"""
