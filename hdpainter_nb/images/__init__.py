"""Arrays in, arrays out: reading, fitting, resizing and pasting pictures."""
