//! A value that is read by many and replaced as a whole by one: settings that change while the process runs.
//!
//! Whoever reads gets the value as it is at that moment and keeps it for as long as one piece of work takes, so that no
//! work is done by halves of two settings. Reading waits for nobody, and nothing is locked while it is worked with.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// The current value.
pub struct Current<T>(watch::Sender<Arc<T>>);

impl<T> Current<T> {
    /// With its first value.
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        Self(watch::Sender::new(value.into()))
    }

    /// The value as it is now. To be asked for once for each piece of work.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Puts another value in its place; whoever has the former one goes on with that.
    pub fn replace(&self, value: impl Into<Arc<T>>) {
        self.0.send_replace(value.into());
    }

    /// Tells of every replacement from now on.
    pub fn follow(&self) -> watch::Receiver<Arc<T>> {
        self.0.subscribe()
    }
}

impl<T: fmt::Debug> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_works_keeps_what_they_began_with() {
        let current = Current::new(1);
        let mut news = current.follow();
        let held = current.get();
        current.replace(2);
        assert_eq!((*held, *current.get()), (1, 2));
        assert!(news.has_changed().unwrap());
        assert_eq!(**news.borrow_and_update(), 2);
    }
}
