"""The toy world's frozen models, and how they are trained."""
