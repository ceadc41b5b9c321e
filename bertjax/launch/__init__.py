"""What only the command line needs: macros, flags, the machine it starts on."""
