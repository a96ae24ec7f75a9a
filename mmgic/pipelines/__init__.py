"""The data stages in their order, one module per corpus. Each stage is a function of the settings and a table."""
