"""The command line: arguments, environment, printing and exit codes end here."""
