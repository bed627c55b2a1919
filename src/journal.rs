//! The journal: what an update intended and what came of it, durable before it is done.
