//! Reports and the catalogue as text for people, JSON for programs, JUnit for pipelines, Markdown for pages.
//!
//! Rendering decides nothing: it shows what a report says. The JSON form is the contract (`xks-preflight/report/1`).

pub mod catalogue;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod text;

use crate::check::Report;

/// The forms a report can take on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people, with or without colour.
    Text {
        /// Whether to use ANSI colours.
        colour: bool,
    },
    /// The contract.
    Json,
    /// For test reports of pipelines.
    Junit,
    /// For pages and comments.
    Markdown,
}

/// Renders a report; ends in a newline.
pub fn report(report: &Report, form: Form) -> String {
    match form {
        Form::Text { colour } => text::report(report, colour),
        Form::Json => format!("{:#}\n", json::report(report)),
        Form::Junit => junit::report(report),
        Form::Markdown => markdown::report(report),
    }
}
