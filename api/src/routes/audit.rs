use axum::{Json as Answer, extract::State};
use duet_core::{
    domain::{AuditEntry, ListPage},
    ports::ChainCheck,
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Admin, In},
    error::{ApiResult, ReadProblems},
    extract::{PageQuery, Query},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_audit_entries))
        .routes(routes!(verify_audit))
}

/// The audit log
///
/// Owners only.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/audit", tag = "audit",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PageQuery),
    responses((status = 200, description = "Newest first.", body = ListPage<AuditEntry>), ReadProblems)
)]
async fn list_audit_entries(
    State(state): State<AppState>,
    caller: In<Admin>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<ListPage<AuditEntry>>> {
    Ok(Answer(state.stores().audit.entries(&caller, page.request()?).await?))
}

/// What a check of the chains found.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditCheck {
    /// Whether every row is in its place.
    pub intact: bool,
    /// How many rows were checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The first row that is missing, changed or out of order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenLink>,
}

/// Where a chain is broken.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct BrokenLink {
    /// Which chain: `audit`, or `run <id>`.
    pub chain: String,
    /// Its `seq`.
    pub seq: u64,
}

/// Check the chains
///
/// Recomputes the audit log's and all runs' hash chains. Owners only.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/audit/verify", tag = "audit",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "What was found.", body = AuditCheck), ReadProblems)
)]
async fn verify_audit(State(state): State<AppState>, caller: In<Admin>) -> ApiResult<Answer<AuditCheck>> {
    Ok(Answer(match state.stores().audit.verify(&caller).await? {
        ChainCheck::Intact(rows) => AuditCheck {
            intact: true,
            rows: Some(rows),
            broken: None,
        },
        ChainCheck::Broken { chain, seq } => AuditCheck {
            intact: false,
            rows: None,
            broken: Some(BrokenLink { chain, seq }),
        },
    }))
}
