"""Support for the command line: flags, macros, and the host it starts on."""
