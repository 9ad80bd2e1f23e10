"""The operator's configuration: settings, users, files of dialects and of fault rules, the log."""
