"""A page about a package for people: what its images are made of, drawn, in one file that fetches nothing."""
