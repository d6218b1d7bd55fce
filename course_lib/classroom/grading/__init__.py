"""`course grade`: a class graded with one command, on notebooks that nobody needs to trust."""
