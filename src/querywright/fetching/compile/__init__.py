"""Turn a plan and a statement into one Select whose result is JSON text, and into SQL with places for values."""
