use axum::{Json, extract::State};
use duet_core::domain::ModelRef;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiResult, OpenProblems},
    state::{AppState, Mode},
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_config))
}

/// A description of this server.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerInfo {
    /// Where it keeps its data.
    pub mode: Mode,
    /// Duet's version.
    pub version: String,
    /// Whether it is waiting for its first owner.
    pub setup_needed: bool,
    /// Who signs people in.
    pub auth: AuthInfo,
    /// The default model.
    pub model: DefaultModel,
    /// What makes vectors; absent if recall uses only full text.
    pub embedder: Option<EmbedderInfo>,
}

/// Who signs people in.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuthInfo {
    /// `built_in`: this server, with email, password and a session cookie. `supabase`: Supabase Auth; its access tokens are sent
    /// as `Authorization: Bearer`.
    #[schema(example = "built_in")]
    pub mode: String,
    /// The project's URL, for `supabase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The project's publishable key, for `supabase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishable_key: Option<String>,
}

/// The model for agents that name none.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct DefaultModel {
    /// Its name.
    pub default: ModelRef,
    /// Whether it is the built-in rule-based fallback rather than a language model.
    pub offline: bool,
}

/// What makes vectors.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct EmbedderInfo {
    /// Its id.
    pub id: String,
    /// Length of its vectors.
    pub dimensions: u32,
    /// What it can and cannot do, if that needs saying.
    pub note: Option<String>,
}

/// What this server is
///
/// Needs no sign-in: clients call it before anything else.
#[utoipa::path(
    get, path = "/v1/config", tag = "setup", security(()),
    responses((status = 200, description = "What this server is.", body = ServerInfo), OpenProblems)
)]
async fn get_config(State(state): State<AppState>) -> ApiResult<Json<ServerInfo>> {
    let default = state.models().default_model();
    let embedder = state.embedder().map(|embedder| {
        let model = embedder.model();
        let note = model.id.starts_with("builtin/").then(|| {
            "Built in, needs no download: it compares words and their parts, not meanings. For search by meaning configure an embedding model."
                .to_owned()
        });
        EmbedderInfo {
            id: model.id,
            dimensions: model.dimensions,
            note,
        }
    });
    let auth = match state.issuer().map(|issuer| issuer.info()) {
        Some(info) => AuthInfo {
            mode: info.mode.into(),
            url: Some(info.url),
            publishable_key: Some(info.publishable_key),
        },
        None => AuthInfo {
            mode: "built_in".into(),
            url: None,
            publishable_key: None,
        },
    };
    Ok(Json(ServerInfo {
        mode: state.mode(),
        version: env!("CARGO_PKG_VERSION").into(),
        setup_needed: state.stores().accounts.needs_owner().await?,
        auth,
        model: DefaultModel {
            offline: default.provider() == "offline",
            default,
        },
        embedder,
    }))
}
