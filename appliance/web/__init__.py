"""The HTTP surface: Falcon and waitress are imported only here."""
