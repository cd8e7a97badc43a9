"""Stars: catalogs of measurements, magnitude limits and completeness, bundled star tables."""
