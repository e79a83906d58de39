"""What must be true of the data whatever fails: questions in SQL, with a sentence each."""
