"""Files of a platform are put into force by that platform's own client, run as a process."""
