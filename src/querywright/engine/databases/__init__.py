"""What each database is and needs: its drivers, its errors, its settings."""
