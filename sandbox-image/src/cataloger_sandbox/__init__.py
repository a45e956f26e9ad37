"""A persistent Python session that an agent can't break, and the stream to it."""

PROTOCOL = 1
DEFAULT_SOCKET = "cataloger-sandbox"
