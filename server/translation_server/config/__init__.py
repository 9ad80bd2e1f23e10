"""What an operator configures: settings, users, files of dialects and of fault rules, the log."""
