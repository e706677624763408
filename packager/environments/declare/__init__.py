"""What an environment asks for: files of conda's and pip's, inline, curated; normalised to a request for a lock."""
