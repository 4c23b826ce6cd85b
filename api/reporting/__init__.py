"""Reports as files: HTML, PDF, CSV and JSON, in more than one language, signed where it is asked for."""
