//! The API's description for programs: OpenAPI 3.1.

use axum::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{approvals, audit, events, freeze, gates, key_stores, operations, preflights, problem, updates, view};

/// Adds the schemes that the document's `security` names.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let description = "A token made with: xks-preflight token new, or a JWT of an identity provider that is configured \
                           under oidc. What it may do is a matter of its roles, on the key stores of their scope.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        let description = "A token as the password of any user, for callers that can set no header; on gates alone.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(description)).build();
        components.add_security_scheme("basic", SecurityScheme::Http(scheme));
        let description = "A certificate of listen.client_ca_file with a name under client_certificates.";
        let scheme =
            SecurityScheme::MutualTls { description: Some(description.to_owned()), deprecated: None, extensions: None };
        components.add_security_scheme("mutual_tls", scheme);
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
        gates::status,
        gates::analysis,
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
    security(("bearer" = []), ("mutual_tls" = [])),
    modifiers(&Schemes),
)]
struct Description;

/// The document.
pub fn document() -> Document {
    Description::openapi()
}

pub(super) async fn serve() -> Json<Document> {
    Json(document())
}
