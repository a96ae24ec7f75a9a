"""How the visual modules are trained."""
