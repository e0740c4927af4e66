"""Conversations: speech streams in, the face streams out."""
