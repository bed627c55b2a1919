//! The versioned HTTP API.

mod token;

pub use token::{Caller, InvalidTokenHash, Role, Token, TokenHash, identify};
