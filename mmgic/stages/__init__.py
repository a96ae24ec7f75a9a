"""How a stage runs on Ray Data, and the tables that stages write."""
