"""What every command of this package does alike with its command line, whichever room the command itself stands in."""
