"""Reading files from disk, with errors that name the file."""
