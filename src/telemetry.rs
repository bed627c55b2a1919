//! Logs: to stderr, text or JSON.
