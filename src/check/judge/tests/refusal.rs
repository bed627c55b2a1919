use super::*;

pub(super) const SPOILS: &[(&str, Spoil)] = &[];

/// Evidence on which every check of this chapter passes.
pub(super) fn passing() -> Vec<Evidence> {
    Vec::new()
}
