//! Maintenance windows: `[[update.windows]]`.

use std::collections::BTreeSet;

use super::fault::{Collector, found};
use super::raw::Section;
use super::resolve::{all_different, rule};
use crate::key_store::CustomKeyStoreId;
use crate::update::{Window, Windows};

/// The tables of `update.windows`; `stores` are the known ones, if they could be read.
pub(super) fn windows(
    sections: Vec<Section>,
    stores: Option<&BTreeSet<CustomKeyStoreId>>,
    faults: &mut Collector,
) -> Option<Windows> {
    let mut windows = Vec::new();
    let mut whole = true;
    for mut section in sections {
        let one_store = section.has("key_store");
        let key_store = section.parse("key_store", faults, |text| {
            let id = rule(CustomKeyStoreId::parse)(text)?;
            match stores {
                Some(known) if !known.contains(&id) => Err("must be the id of one of [[key_stores]]".to_owned()),
                _ => Ok(id),
            }
        });
        let days = section.texts("days").and_then(|texts| {
            if texts.is_empty() {
                faults.add(section.line, &format!("{}.days", section.path), "must have at least one day");
                return None;
            }
            let mut days = Vec::new();
            let mut good = all_different(&texts, faults);
            for text in &texts {
                match Window::day(&text.value) {
                    Ok(day) => days.push(day),
                    Err(rule) => {
                        faults.add(text.line, &text.path, format!("{rule} {}", found(&text.value)));
                        good = false;
                    }
                }
            }
            good.then_some(days)
        });
        let from = section.parse("from", faults, |text| Window::time(text).map_err(str::to_owned));
        let to = section.parse("to", faults, |text| Window::time(text).map_err(str::to_owned));
        let zone = section.parse("time_zone", faults, |text| Window::time_zone(text).map_err(str::to_owned));
        section.finish(faults);
        let readable = key_store.is_some() == one_store;
        let (Some(days), Some(from), Some(to), Some(zone), true) = (days, from, to, zone, readable) else {
            whole = false;
            continue;
        };
        windows.push(Window::new(key_store.map(|id| id.value), days, (from.value, to.value), zone.value));
    }
    whole.then_some(Windows(windows))
}
