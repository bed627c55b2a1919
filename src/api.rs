//! The versioned HTTP API.
