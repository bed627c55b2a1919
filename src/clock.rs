//! Wall time as an argument: signing, certificates and records take the instant from an injected clock.
