"""Pictures of a tape."""
