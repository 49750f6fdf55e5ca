"""One HTML file that shows a person what trained workdirs found: numbers, pictures, sound."""
