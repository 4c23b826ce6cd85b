"""The web console: pages for people, made on the server. It works without any other host and without a build step."""
