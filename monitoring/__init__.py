"""What those get who watch the service with other people's programs."""
