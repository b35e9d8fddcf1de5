"""Which replica gets a request: by session, by the prefix that it holds, by load. Pure."""
