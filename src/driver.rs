//! One task per open update: load, observe, decide, journal the intent, perform, journal the outcome.
