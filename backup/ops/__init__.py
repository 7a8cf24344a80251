"""One verb a file. Inputs first, then options and monitor; what to do is decided purely, then done."""
