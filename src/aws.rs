//! AWS clients live here and nowhere else.
