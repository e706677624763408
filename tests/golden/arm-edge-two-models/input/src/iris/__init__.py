"""The iris service."""
