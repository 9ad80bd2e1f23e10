"""What an operator chooses: settings, users, files of dialects and fault rules, the log."""
