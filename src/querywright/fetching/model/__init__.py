"""What a response model says: its fields, annotations and markers, as Pydantic understands them."""
