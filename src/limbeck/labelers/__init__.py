"""What target a synthetic image carries."""
