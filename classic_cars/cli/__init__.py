"""The command line, thin: what each command does is decided elsewhere."""
