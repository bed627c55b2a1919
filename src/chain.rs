//! The one way an error chain is printed.
