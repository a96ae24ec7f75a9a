"""A language model behind an OpenAI-compatible server, and its answers."""
