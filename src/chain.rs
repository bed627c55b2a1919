//! The one way an error chain is printed: each `Display` tells its own part, this joins them.

use std::error::Error;
use std::fmt;

/// Prints an error and all its sources, joined by `: `, for logs and for people.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the journal")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_link_is_told_once() {
        let error = Outer(std::io::Error::other("disk is full"));
        assert_eq!(Chain(&error).to_string(), "cannot open the journal: disk is full");
    }
}
