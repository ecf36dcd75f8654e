"""One trace, several faces; their names equal those of the browser's folders."""
