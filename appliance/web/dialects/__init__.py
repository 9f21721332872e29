"""Routes in the words of other servers, without logic of their own."""
