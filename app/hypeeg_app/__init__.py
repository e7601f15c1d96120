"""What the pages of the dashboard share: reading run folders and small pieces of screen."""
