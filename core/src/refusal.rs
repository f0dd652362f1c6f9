//! Why a store refused a request: each reason has a code and a sentence. Postgres returns the code and its arguments; programs act
//! on the code; people read the sentence.

use serde::{Deserialize, Serialize};

use crate::{
    StoreError,
    domain::{
        Capability, DeviceLogin, DeviceState, Embedding, FieldKind, MemoryDomain, NewInvitation, NewMemory, RequestKind,
        RequestState, Session, Visibility, word_enum,
    },
    ids::RunId,
    recall::MAX_QUERY_TERMS,
};

/// What a refusal means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller may not do it. The sentence gives only the reason: see [`StoreError::Denied`].
    Denied,
    /// It conflicts with existing data.
    Conflict,
    /// The caller's knowledge is out of date.
    Stale,
    /// The request itself is wrong.
    Invalid,
}

macro_rules! refusals {
    ($($kind:ident {
        $( $code:literal $name:ident $({ $($field:ident : $type:ty),* })? $sentence:literal $(, $limit:ident = $value:expr)*; )*
    })*) => {
        /// Why something was refused. As JSON: `{"code": …, "args": {…}}`.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
        #[serde(tag = "code", content = "args")]
        pub enum Refusal {
            $($(
                #[doc = $sentence]
                #[error($sentence $(, $limit = $value)*)]
                #[serde(rename = $code)]
                $name $({ $( #[doc = "What the sentence names."] $field: $type ),* })?,
            )*)*
        }

        impl Refusal {
            /// All codes.
            pub const CODES: &[&str] = &[$($($code),*),*];

            /// The names of the arguments of the refusal with this code; `None` if there is none.
            pub fn arguments(code: &str) -> Option<&'static [&'static str]> {
                match code {
                    $($( $code => Some(&[$( $( stringify!($field) ),* )?]), )*)*
                    _ => None,
                }
            }

            /// The code that programs act on: stable, snake_case.
            pub fn code(&self) -> &'static str {
                match self { $($( Self::$name { .. } => $code, )*)* }
            }

            /// What it means for the caller.
            pub fn kind(&self) -> Kind {
                match self { $($( Self::$name { .. } => Kind::$kind, )*)* }
            }
        }
    };
}

refusals! {
    Denied {
        "owners_only" OwnersOnly "only an owner can do this";
        "people_only" PeopleOnly "only a person can do this, not an agent";
        "not_live" NotLive "this needs a sign-in that has not ended; sign in again, then repeat";
        "not_decider" NotDecider "an owner decides this";
        "sign_in_again" SignInAgain "this needs a sign-in of the last {minutes} minutes; sign in again, then repeat",
            minutes = Session::RECENT.as_secs() / 60;
        "access_denied" AccessDenied "somebody who is signed in refused it";
        "wrong_setup_token" WrongSetupToken "the setup token is not the one that was printed last";
        "email_unconfirmed" EmailUnconfirmed "your email address is not confirmed yet";
        "email_differs" EmailDiffers "it is for a different email address than the one you are signed in with";
        "no_capability" NoCapability { capability: Capability } "the agent lacks the capability `{capability}`";
        "no_domain" NoDomain { domain: MemoryDomain } "the agent's memory scopes do not have the domain `{domain}`";
        "no_private_memories" NoPrivateMemories "the agent's memory scopes do not have private memories";
        "agent_off" AgentOff "the agent was switched off, or its person is no longer in the workspace";
        "run_over" RunOver "its run is not under way";
        "run_sensitive" RunSensitive "its run has read sensitive text";
        "others_memory" OthersMemory "it is another person's memory, and only an owner can do this";
        "others_text" OthersText "it is another person's memory, and only that person can have its text unsealed";
        "replaces_others" ReplacesOthers "it would take the place of another person's memory, and only that person or an owner can do this";
        "replaced_others" ReplacedOthers "it takes the place of another person's memory, as it was when that person agreed";
        "not_granted" NotGranted "the database does not allow it to this person or agent";
        "no_data_api" NoDataApi "agents and the server itself have no access to the Data API; their calls go by a connection to Postgres";
        "no_access_token" NoAccessToken "the Data API needs the person's own access token, and this call has none; sign in";
        "bad_access_token" BadAccessToken "the sign-in has run out, or is not this person's or this project's; sign in again";
    }
    Conflict {
        "id_taken" IdTaken { what: Named } "That {what} id is taken. Choose another.";
        "id_redacted" IdRedacted "The memory with that id was redacted. Choose another id.";
        "id_expired" IdExpired "The memory with that id has expired. Choose another id.";
        "key_reused" KeyReused "That idempotency key was used for another message. Use a fresh key for each message.";
        "clash" Clash "That clashes with what is stored.";
        "set_up" SetUp "This Duet already has an owner. Sign in.";
        "account_exists" AccountExists "There is already an account with this email address. Sign in, then open the link again.";
        "account_differs" AccountDiffers "There is another account with your email address. Ask whoever runs this Duet.";
        "reply_active" ReplyActive "A reply is being written in this conversation. Wait for it, or stop it.";
        "reply_knows_memory" ReplyKnowsMemory { run: RunId } "A reply that knows this memory is being written (run {run}). Wait for it, or stop it; then redact again.";
        "reply_of_notice_active" ReplyOfNoticeActive { run: RunId } "One of these replies is being written (run {run}). Wait for it, or stop it; then decide again.";
        "moved_on" MovedOn "The conversation has moved on since that message. Only its newest reply can be continued.";
        "nothing_to_continue" NothingToContinue "There is no stopped or interrupted reply to continue. Ask for a new answer instead.";
        "nothing_to_answer" NothingToAnswer "That message was redacted; there is nothing left to answer.";
        "agent_inactive" AgentInactive "That agent is not active. Choose another, or activate it.";
        "last_primary" LastPrimary "This would leave no primary agent active. Activate the other primary first.";
        "redacted" Redacted { what: Named } "A redacted {what} cannot be changed.";
        "redaction_done" RedactionDone "A redaction with that id is done already. Choose another id.";
        "superseded_redacted" SupersededRedacted "The memory to supersede was redacted. Store the new one by itself.";
        "already_superseded" AlreadySuperseded "That memory has already been superseded. Supersede the one that replaced it.";
        "already_member" AlreadyMember "That person is already a member of this workspace.";
        "you_are_member" YouAreMember "You are already a member of this workspace.";
        "last_owner" LastOwner "A workspace needs an owner. Make another member an owner first.";
        "invitations_full" InvitationsFull "This workspace already has {most} open invitations, which is the limit. Revoke one first.",
            most = NewInvitation::MOST_OPEN;
        "request_decided" RequestDecided { state: RequestState } "This is {state} already.";
        "request_over" RequestOver "This cannot be decided any more: the time for it is over, or the run has ended.";
        "approval_spent" ApprovalSpent "This approval was used already.";
        "approval_stale" ApprovalStale "The approval does not hold any more: what it was given for has changed. Ask again.";
        "run_ended" RunEnded "This run has ended.";
        "too_many_requests" TooManyRequests { most: usize } "At most {most} things can wait for a decision at a time. Decide some first.";
        "authorization_pending" AuthorizationPending "Nobody has confirmed this code yet. Ask again in {seconds} seconds.",
            seconds = DeviceLogin::INTERVAL.as_secs();
        "slow_down" SlowDown "That was asked too soon. Wait {seconds} seconds longer from now on.",
            seconds = DeviceLogin::INTERVAL.as_secs();
        "expired_token" ExpiredToken "This code has expired or was used. Get another one with `duet login`.";
        "device_decided" DeviceDecided { state: DeviceState } "This code is {state} already. Get another one with `duet login`.";
        "device_logins_full" DeviceLoginsFull "{most} devices wait to be signed in here, which is the limit. Try again in a few minutes.",
            most = DeviceLogin::MOST_WAITING;
        "no_device_login" NoDeviceLogin "Supabase Auth signs people in here, and signs in no device by a code. `duet login` asks for email and password instead.";
        "invitation_accepted" InvitationAccepted "This invitation was already accepted. Remove the member instead.";
        "invitation_used" InvitationUsed "This invitation has already been used. Sign in, or ask for a new one.";
        "invitation_revoked" InvitationRevoked "This invitation was revoked. Ask for a new one.";
        "invitation_expired" InvitationExpired "This invitation has expired. Ask for a new one.";
    }
    Stale {
        "lease_lost" LeaseLost "The lease of this run is lost: another worker has it, or it has ended. Stop working on it.";
        "log_grew" LogGrew "The run's log has grown. Fold the new events first; the lease still holds.";
        "agent_changed" AgentChanged "Someone else changed this agent. Load it again, then repeat your change.";
        "soul_changed" SoulChanged "Someone else changed the soul. Load it again, then repeat your change.";
        "policy_changed" PolicyChanged "Someone else changed the policy. Load it again, then repeat your change.";
        "memory_changed" MemoryChanged "The memory has just changed. Read it again, then repeat.";
    }
    Invalid {
        "value" Value "The database refuses this value. Check its length and its form.";
        "too_large_to_store" TooLargeToStore "That is too large to store. Shorten it.";
        "too_large_to_send" TooLargeToSend "This is larger than the Supabase project takes in one request. Send less at a time.";
        "cursor" Cursor "That cursor is not one that a page of this list gave. Start again without it.";
        "id_prefix" IdPrefix "An id begins with 1 to 32 hexadecimal digits.";
        "device_name" DeviceName "A device's name has 1 to {most} letters, digits, spaces and simple signs.",
            most = DeviceLogin::MAX_CLIENT;
        "name_length" NameLength { what: Named } "The name of a {what} has 1 to 80 characters.";
        "email" Email "That is not an email address. Write it like name@example.org.";
        "role" Role "A role is `owner` or `member`.";
        "invitation_lifetime" InvitationLifetime "An invitation lasts between one hour and 30 days.";
        "no_scopes" NoScopes "A key needs at least one scope.";
        "agent_edit" AgentEdit "An edit of an agent names only what it changes.";
        "agent_prompt" AgentPrompt { most: usize, has: usize } "An agent's prompt has at most {most} bytes; this one has {has}.";
        "soul_length" SoulLength { field: String, most: usize, has: usize } "The soul's {field} has at most {most} bytes; this one has {has}.";
        "title_length" TitleLength "A conversation's title has 1 to 200 characters.";
        "message_empty" MessageEmpty "A message needs a text.";
        "message_length" MessageLength { most: usize, has: usize } "A message has at most {most} bytes; this one has {has}. Send it in parts.";
        "key_length" KeyLength "An idempotency key has 1 to 200 characters.";
        "turn_limits" TurnLimits "These are no limits of a turn.";
        "not_your_message" NotYourMessage "Only your own message can be answered again or said anew; name that one, not the reply.";
        "no_such_place" NoSuchPlace "There is no such message in this conversation.";
        "two_places" TwoPlaces "A message comes after another one, or takes the place of one, not both.";
        "too_many_messages" TooManyMessages "At most 1000 messages can be asked for at once.";
        "no_such_event" NoSuchEvent { events: u64, after: u64 } "The run has {events} events; there is nothing after number {after}. Read it from the start.";
        "not_folded" NotFolded { events: u64, after: u64 } "The run has {events} events; the driver cannot have folded {after}.";
        "not_an_end" NotAnEnd { status: String } "A run cannot end as `{status}`.";
        "no_context" NoContext "The turn has no context yet.";
        "memory_form" MemoryForm { field: String } "The memory's `{field}` is missing, too large, or not one of the values that the schema lists.";
        "memory_empty" MemoryEmpty "A memory needs a text.";
        "memory_length" MemoryLength { most: usize, has: usize } "A memory's text has at most {most} bytes; this one has {has}. Split it.";
        "speaker_length" SpeakerLength { most: usize } "A speaker's name has at most {most} bytes.";
        "ordinal" Ordinal { most: u64 } "A place in a conversation is at most {most}.";
        "memory_time" MemoryTime "The times of a memory are in the years 1 to 9999.";
        "no_expiry" NoExpiry "A working memory needs a time at which it expires.";
        "only_working_expires" OnlyWorkingExpires "Only a working memory expires.";
        "expiry_over" ExpiryOver "That time is over. A memory expires at a time that is still to come.";
        "visibilities_differ" VisibilitiesDiffer { new: Visibility, old: Visibility } "A {new} memory cannot supersede a {old} one: whoever sees the one has to see the other.";
        "visibility" VisibilityUnknown "A memory is `shared` or `private`.";
        "too_many_memories" TooManyMemories "At most 1000 memories are read at a time.";
        "recall_count" RecallCount "A recall returns 1 to 100 memories.";
        "no_vector" NoVector "A recall by vectors needs the question's vector. Ask by `hybrid` or `fts`.";
        "question_size" QuestionSize "A question has at most {terms} terms, and a vector of at most {dimensions} dimensions.",
            terms = MAX_QUERY_TERMS, dimensions = Embedding::MAX_DIMENSIONS;
        "vector_size" VectorSize "A vector has at most {dimensions} dimensions, and its model a name of at most 200 characters.",
            dimensions = Embedding::MAX_DIMENSIONS;
        "vector_dimensions" VectorDimensions { model: String, dimensions: u32, most: usize, has: usize } "A vector of `{model}` needs {dimensions} dimensions (at most {most}); this one has {has}.";
        "no_redaction_id" NoRedactionId "A redaction has an id.";
        "notice_decision" NoticeDecision "A notice is settled by `blank` or `dismiss`.";
        "no_label" NoLabel "Name at least one label to clear.";
        "no_label_of_memory" NoLabelOfMemory "A memory has the labels `integrity`, `egress` and `sensitive` to clear. Name at least one of them, and no other.";
        "decision_unfit" DecisionUnfit { kind: RequestKind, decision: String } "`{decision}` is not an answer to a request of the kind `{kind}`.";
        "arguments_form" ArgumentsForm "The arguments of a call are a JSON object.";
        "arguments_length" ArgumentsLength { most: usize, has: usize } "The arguments of a call have at most {most} bytes here; these have {has}.";
        "arguments_depth" ArgumentsDepth { most: usize } "The arguments of a call are nested at most {most} deep.";
        "arguments_text" ArgumentsText "The arguments of a call cannot hold the character U+0000.";
        "argument_number" ArgumentNumber "Whole numbers beyond 2^53 cannot be kept exactly. Write them as text.";
        "answer_length" AnswerLength { most: usize, has: usize } "An answer has at most {most} bytes; this one has {has}.";
        "answer_unknown" AnswerUnknown { field: String } "The form has no field `{field}`.";
        "answer_missing" AnswerMissing { field: String } "The field `{field}` needs an answer.";
        "answer_form" AnswerForm { field: String, kind: FieldKind } "The field `{field}` takes an answer of the kind `{kind}`.";
        "policy_form" PolicyForm { rule: usize } "Rule {rule} of the policy is not one that the schema describes.";
        "policy_length" PolicyLength { most: usize, has: usize } "A policy has at most {most} rules; this one has {has}.";
        "unsealed_text" UnsealedText "To unseal a memory takes its text, of at most {most} bytes, and its terms.",
            most = NewMemory::MAX_TEXT;
    }
}

word_enum! {
    /// What a refusal's sentence can be about.
    Named {
        /// A workspace.
        Workspace = "workspace",
        /// A person.
        Person = "person",
        /// A companion.
        Companion = "companion",
        /// An agent.
        Agent = "agent",
        /// A conversation.
        Conversation = "conversation",
        /// A message.
        Message = "message",
        /// A reply.
        Reply = "reply",
        /// A run.
        Run = "run",
        /// A memory.
        Memory = "memory",
        /// An API key.
        Key = "key",
        /// A request.
        Request = "request",
        /// A sign-in.
        SignIn = "sign-in",
    }
}

impl Refusal {
    /// Turns this into a store error; `action`, a verb phrase ("redact this memory"), says what was refused if the caller lacked
    /// permission.
    pub fn of(self, action: &'static str) -> StoreError {
        match self.kind() {
            Kind::Denied => StoreError::Denied(action, self),
            Kind::Conflict => StoreError::Conflict(self),
            Kind::Stale => StoreError::Stale(self),
            Kind::Invalid => StoreError::Invalid(self),
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        refusal.of("do this")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_code_is_given_once() {
        let codes: BTreeSet<&str> = Refusal::CODES.iter().copied().collect();
        assert_eq!(codes.len(), Refusal::CODES.len());
    }

    #[test]
    fn what_postgres_answers_is_read() {
        let read = |json| serde_json::from_value::<Refusal>(json).map_err(|error| error.to_string());
        assert_eq!(read(json!({"code": "last_owner"})), Ok(Refusal::LastOwner));
        let taken = Refusal::IdTaken { what: Named::SignIn };
        assert_eq!(
            read(json!({"code": "id_taken", "args": {"what": "sign-in"}})),
            Ok(taken.clone())
        );
        assert_eq!(taken.to_string(), "That sign-in id is taken. Choose another.");
        for wrong in [
            json!({"code": "id_taken"}),
            json!({"code": "id_taken", "args": {"what": "moon"}}),
            json!({"code": "of another version"}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sentence_names_the_limit_that_is_checked() {
        for (refusal, sentence) in [
            (
                Refusal::SignInAgain,
                "this needs a sign-in of the last 15 minutes; sign in again, then repeat",
            ),
            (
                Refusal::InvitationsFull,
                "This workspace already has 100 open invitations, which is the limit. Revoke one first.",
            ),
            (
                Refusal::QuestionSize,
                "A question has at most 64 terms, and a vector of at most 8192 dimensions.",
            ),
        ] {
            assert_eq!(refusal.to_string(), sentence);
        }
    }

    #[test]
    fn the_names_of_arguments() {
        assert_eq!(Refusal::arguments("message_length"), Some(&["most", "has"][..]));
        assert_eq!(Refusal::arguments("last_owner"), Some(&[][..]));
        assert_eq!(Refusal::arguments("moon"), None);
    }

    #[test]
    fn only_what_is_denied_says_what_was_asked() {
        let denied = Refusal::OwnersOnly.of("rename the workspace").to_string();
        assert_eq!(denied, "Not allowed to rename the workspace: only an owner can do this.");
        assert_eq!(Refusal::LastOwner.of("leave").to_string(), Refusal::LastOwner.to_string());
    }
}
