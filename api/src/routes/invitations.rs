use std::time::Duration;

use axum::{
    Json as Answer,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
};
use duet_core::{
    domain::{Invitation, Invited, ListPage, Membership, NewInvitation, Newcomer, Role},
    ids::InvitationId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    One,
    auth::{check_email, new_session},
    setup::check_name,
};
use crate::{
    auth::{Authenticated, Credential, In, PersonOnly, origin, password, secret},
    error::{ApiResult, Code, OpenProblems, Problem, ReadProblems, WriteProblems},
    extract::{Json, PageQuery, Path, Query},
    limits::client_address,
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_invitations, create_invitation))
        .routes(routes!(revoke_invitation))
        .routes(routes!(look_up))
        .routes(routes!(accept))
}

/// Its invitations
///
/// For owners; includes those that are over.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/invitations", tag = "invitations",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PageQuery),
    responses((status = 200, description = "Newest first; never their tokens.", body = ListPage<Invitation>), ReadProblems)
)]
async fn list_invitations(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<ListPage<Invitation>>> {
    Ok(Answer(state.stores().invitations.list(&caller, page.request()?).await?))
}

/// Whom to invite.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationRequest {
    /// The address; only an account with it can accept.
    email: String,
    /// The role that they will have; `member` when absent.
    #[serde(default = "member")]
    role: Role,
    /// How many hours it can be accepted: 1 to 720, a week when absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 720)]
    expires_in_hours: Option<u32>,
}

fn member() -> Role {
    Role::Member
}

/// An invitation with its link.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedInvitation {
    /// The invitation.
    pub invitation: Invitation,
    /// Shown only this once; give it to the guest. The token comes after `#`, a part that browsers do not send.
    pub link: String,
    /// The token alone.
    pub token: String,
}

/// Invite somebody
///
/// For owners, with a sign-in of the last 15 minutes and not an access token: an older sign-in is answered with `sign_in_again`. No mail is sent: the answer contains the link to pass on. An open invitation for the same address stops working.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/invitations", tag = "invitations", request_body = InvitationRequest,
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 201, description = "The invitation and, this once, its link.", body = CreatedInvitation), WriteProblems)
)]
async fn create_invitation(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    headers: HeaderMap,
    uri: Uri,
    Json(request): Json<InvitationRequest>,
) -> ApiResult<(StatusCode, Answer<CreatedInvitation>)> {
    // The guest's access outlasts the sign-in.
    caller.authenticated().recent_sign_in(&state)?;
    let lifetime = match request.expires_in_hours {
        None => NewInvitation::LIFETIME,
        Some(hours) => Duration::from_secs(u64::from(hours) * 3600),
    };
    if !(NewInvitation::SHORTEST..=NewInvitation::LONGEST).contains(&lifetime) {
        return Err(Problem::invalid_field(
            "expires_in_hours",
            "`expires_in_hours` is a number from 1 to 720.",
        ));
    }
    let token = secret::random(state.env());
    let new = NewInvitation {
        id: state.env().id(),
        email: check_email(&request.email)?,
        role: request.role,
        token_hash: secret::hash(&token),
        lifetime,
    };
    let invitation = state.stores().invitations.create(&caller, new).await?;
    let page = match &state.config().server.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", origin::authority(&headers, &uri).unwrap_or("localhost")),
    };
    let answer = Answer(CreatedInvitation {
        invitation,
        link: format!("{page}/invite#token={token}"),
        token,
    });
    Ok((StatusCode::CREATED, answer))
}

/// Revoke an invitation
///
/// At once and for good.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace_id}/invitations/{id}", tag = "invitations",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The invitation.", format = Uuid),
    ),
    responses((status = 200, description = "The revoked invitation.", body = Invitation), WriteProblems)
)]
async fn revoke_invitation(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<One<InvitationId>>,
) -> ApiResult<Answer<Invitation>> {
    Ok(Answer(state.stores().invitations.revoke(&caller, path.id).await?))
}

/// A request from somebody who need not be signed in, counted against their network address.
async fn counted<T: DeserializeOwned + Send>(state: &AppState, request: Request) -> ApiResult<(Parts, T)> {
    let (parts, body) = request.into_parts();
    origin::check_page(&parts, state.origins())?;
    state.limits().invitation(client_address(&parts, &state.config().server))?;
    let again = Request::from_parts(parts.clone(), body);
    let Json(body) = Json::<T>::from_request(again, state).await?;
    Ok((parts, body))
}

/// A token.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationToken {
    /// What follows `#token=` in the link.
    token: String,
}

/// What an invitation is about
///
/// For whoever holds its token. A used, revoked or expired invitation is reported as such; an unknown token is not found.
#[utoipa::path(
    post, path = "/v1/invitations/lookup", tag = "invitations", security(()), request_body = InvitationToken,
    responses(
        (status = 200, description = "It can be accepted.", body = Invited),
        (status = 404, description = "There is no invitation with this token (`not_found`).", body = Problem, content_type = "application/problem+json"),
        OpenProblems
    )
)]
async fn look_up(State(state): State<AppState>, request: Request) -> ApiResult<Answer<Invited>> {
    let (_, InvitationToken { token }) = counted(&state, request).await?;
    let invited = state.stores().invitations.look_up(secret::hash(&token)).await?;
    Ok(Answer(invited))
}

/// Accepting an invitation.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// What follows `#token=` in the link.
    token: String,
    /// For people without an account: the name they go by.
    display_name: Option<String>,
    /// For people without an account: at least 10 characters.
    #[schema(min_length = 10, format = Password)]
    password: Option<String>,
}

/// Accept an invitation
///
/// With a `password`: creates the account of the invited address and signs it in. Without: as the signed-in person, whose address
/// must be the invited one. Where Supabase Auth signs people in, always without. It works once.
#[utoipa::path(
    post, path = "/v1/invitations/accept", tag = "invitations", security((), ("session" = []), ("bearer" = [])),
    request_body = Acceptance,
    responses(
        (status = 200, description = "The signed-in person is a member.", body = Membership),
        (status = 201, description = "The new person is a member, and signed in.", body = Membership),
        WriteProblems
    )
)]
async fn accept(State(state): State<AppState>, request: Request) -> ApiResult<Response> {
    let (parts, acceptance): (_, Acceptance) = counted(&state, request).await?;
    let token_hash = secret::hash(&acceptance.token);
    let invitations = &state.stores().invitations;
    let Some(password) = acceptance.password else {
        let authenticated = Authenticated::from_parts(&parts, &state).await?;
        if let Credential::Key(..) = &authenticated.credential {
            return Err(Problem::new(Code::Denied, "An API key cannot do this. Sign in first."));
        }
        let name = acceptance.display_name.as_deref();
        let membership = invitations.accept(authenticated.user, token_hash, name).await?;
        return Ok(Answer(membership).into_response());
    };
    if state.issuer().is_some() {
        return Err(Problem::invalid_field(
            "password",
            "Supabase Auth signs people in: sign up there with the invited address, leave `password` out, and send the access token of that sign-in.",
        ));
    }
    // Before the password is hashed, which is expensive.
    invitations.look_up(token_hash).await?;
    password::check(&password).map_err(|message| Problem::invalid_field("password", message))?;
    let newcomer = Newcomer {
        display_name: check_name("display_name", acceptance.display_name.as_deref().unwrap_or_default(), 80)?,
        password_hash: password::hash(state.env(), password).await?,
    };
    let user = invitations.accept_as_newcomer(token_hash, newcomer).await?;
    let (headers, _) = new_session(&state, &user, client_address(&parts, &state.config().server)).await?;
    let membership = state.stores().workspaces.memberships(user.id).await?.into_iter().next();
    Ok((
        StatusCode::CREATED,
        headers,
        Answer(membership.ok_or_else(Problem::internal)?),
    )
        .into_response())
}
