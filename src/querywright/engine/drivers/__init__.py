"""What Querywright knows of each driver: a module for each, behind one protocol."""
