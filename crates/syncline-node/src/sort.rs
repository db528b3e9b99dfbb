//! External merge sort of Arrow batches by encoded key.
