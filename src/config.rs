//! Configuration: raw shapes in, typed settings out, all faults at once.
