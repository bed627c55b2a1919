//! Choosing a key store in a form: from a list as long as a list can be read, else by its id.

use std::sync::Arc;

use maud::{Markup, html};

use super::field::Field;
use super::session::Visitor;
use crate::access::Permission;
use crate::api::problem::Problem;
use crate::monitor::Sighting;

/// The longest list: nobody reads a longer one, and ten thousand options are a megabyte.
const LONGEST: usize = 250;

/// The key stores on which the visitor may do this.
pub(super) fn of(visitor: &Visitor, permission: Permission) -> Vec<Arc<Sighting>> {
    let service = visitor.service();
    let caller = visitor.admitted.each();
    let mut stores = service.monitor.sightings();
    stores.retain(|store| caller.sees(service, &store.id) && caller.could(service, permission, &store.id));
    stores
}

/// The field. `other` is what may be chosen besides, with its value.
pub(super) fn field(
    field: Field,
    stores: &[Arc<Sighting>],
    other: Option<(&str, &str)>,
    chosen: &str,
    problem: Option<&Problem>,
) -> Markup {
    let is_wrong = field.is_wrong(problem);
    let described = is_wrong.then(|| field.told_in());
    html! {
        div.field {
            label for=(field.id) { (field.title) }
            @if stores.len() > LONGEST {
                input id=(field.id) name=(field.name) value=(chosen) placeholder=(field.example) spellcheck="false" maxlength="64"
                    aria-invalid=[is_wrong.then_some("true")] aria-describedby=[described];
                p.hint {
                    "The id of one of " (stores.len()) " key stores; the page of a key store leads here with it filled in."
                    @if let Some((value, title)) = other {
                        " " @if value.is_empty() { "Empty" } @else { code { (value) } } ": " (title) "."
                    }
                }
            } @else {
                select id=(field.id) name=(field.name) aria-invalid=[is_wrong.then_some("true")] aria-describedby=[described] {
                    @if let Some((value, title)) = other { option value=(value) selected[chosen == value] { (title) } }
                    @for store in stores {
                        @let id = store.id.to_string();
                        option value=(id) selected[id == chosen] { (label(store)) }
                    }
                }
            }
            (field.wrong(problem))
        }
    }
}

fn label(store: &Sighting) -> String {
    let name = store.description.as_ref().map(|described| described.name.as_str().to_owned()).unwrap_or_default();
    format!("{name} ({})", store.id).trim().to_owned()
}
