"""Answer a repeated POST as the first time."""
