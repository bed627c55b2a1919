//! The API's description for programs: OpenAPI 3.1.

use axum::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{approvals, audit, events, freeze, key_stores, operations, preflights, problem, updates, view};

/// Adds the scheme that the document's `security` names.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let description = "A token made with: xks-preflight token new. GET needs a viewer's, POST an operator's.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "xks-preflight", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        operations::checks,
        key_stores::list,
        key_stores::one,
        key_stores::reports,
        key_stores::keys,
        preflights::run,
        preflights::one,
        updates::submit,
        updates::list,
        updates::one,
        events::follow,
        approvals::approve,
        freeze::list,
        freeze::set,
        freeze::lift,
        updates::cancel,
        updates::removed,
        updates::rollback,
        audit::evidence,
        audit::list,
        audit::key,
    ),
    components(schemas(problem::ProblemDocument, problem::Fault, view::KeyStoreView, view::UpdateView)),
    security(("bearer" = [])),
    modifiers(&Bearer),
)]
struct Description;

/// The document.
pub fn document() -> Document {
    Description::openapi()
}

pub(super) async fn serve() -> Json<Document> {
    Json(document())
}
