//! Fields of forms, with what is wrong with each beside it.

use maud::{Markup, html};

use super::legible;
use crate::api::problem::{Fault, Problem};

/// One field of a form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Where the API names it, as a JSON pointer.
    pub(super) pointer: &'static str,
    /// Its id in the page.
    pub(super) id: &'static str,
    /// Its name in the form.
    pub(super) name: &'static str,
    /// What people call it.
    pub(super) title: &'static str,
    /// What it may look like.
    pub(super) example: &'static str,
}

impl Field {
    /// A line of text with its label.
    pub(super) fn text(&self, value: &str, problem: Option<&Problem>) -> Markup {
        let is_wrong = self.is_wrong(problem);
        html! {
            div.field {
                label for=(self.id) { (self.title) }
                input id=(self.id) name=(self.name) value=(value) placeholder=(self.example) spellcheck="false" maxlength="1024"
                    aria-invalid=[is_wrong.then_some("true")] aria-describedby=[is_wrong.then(|| self.told_in())];
                (self.wrong(problem))
            }
        }
    }

    /// Whether it has a fault.
    pub(super) fn is_wrong(&self, problem: Option<&Problem>) -> bool {
        faults(problem).iter().any(|fault| fault.pointer == self.pointer)
    }

    /// The id of what is wrong with it.
    pub(super) fn told_in(&self) -> String {
        format!("{}-fault", self.id)
    }

    /// What is wrong with it.
    pub(super) fn wrong(&self, problem: Option<&Problem>) -> Markup {
        let wrong: Vec<&Fault> = faults(problem).iter().filter(|fault| fault.pointer == self.pointer).collect();
        html! {
            @if !wrong.is_empty() {
                p.fault id=(self.told_in()) {
                    @for (at, fault) in wrong.iter().enumerate() { @if at > 0 { "; " } (legible::paragraph(&fault.detail)) }
                }
            }
        }
    }
}

fn faults(problem: Option<&Problem>) -> &[Fault] {
    problem.map(Problem::faults).unwrap_or_default()
}

/// Above a form that is shown again: everything that is wrong, with the way to each of its fields.
pub(super) fn refused(problem: &Problem, fields: &[Field], advice: Option<&str>) -> Markup {
    let faults = problem.faults();
    html! {
        div.notice.bad role="alert" tabindex="-1" {
            @if faults.is_empty() { p { strong { "Not taken. " } (legible::sentence(problem.detail())) } }
            @else {
                p { strong { "Not taken. " } @if faults.len() == 1 { "One thing must be mended:" } @else { (faults.len()) " things must be mended:" } }
                ul.faults {
                    @for fault in faults {
                        li {
                            @match fields.iter().find(|field| field.pointer == fault.pointer) {
                                Some(field) => a href=(format!("#{}", field.id)) { (field.title) },
                                None => code { (legible::line(&fault.pointer)) },
                            }
                            ": " (legible::paragraph(&fault.detail))
                        }
                    }
                }
            }
            @if let Some(advice) = advice { p.sub { (advice) } }
        }
    }
}
