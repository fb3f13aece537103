"""What people and programs ask of the published tables: headlines, contradictions, status, incidents, documents."""
