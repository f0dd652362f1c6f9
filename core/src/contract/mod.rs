//! Suites that every adapter must pass. An adapter's test is a [`Harness`] and one line:
//!
//! ```text
//! duet_core::contract_suite!(MyHarness::fresh);
//! ```
//!
//! `fresh` is an async function that makes empty stores. Every check becomes its own test.

#![allow(clippy::unwrap_used, reason = "the suites are tests; the lint knows only `cfg(test)`")]

mod world;
mod writes;

pub mod accounts;
pub mod agents;
pub mod audit;
pub mod branches;
pub mod conversations;
pub mod devices;
pub mod invitations;
pub mod isolation;
pub mod keys;
pub mod labels;
pub mod members;
pub mod memories;
pub mod notices;
pub mod policies;
pub mod requests;
pub mod run_log;
pub mod runs;
pub mod simulator;
pub mod system;
pub mod turns;
pub mod workspaces;

pub use world::{Harness, TestEnv, World, assert_refused};
pub use writes::Writes;

/// Expands to one `#[tokio::test]` for each check of the suite; `$fresh` is an async function that makes a [`Harness`]. `seeds: N`
/// plays N seeds of the simulator, for adapters whose calls are slow, instead of those of [`simulator::seeds`].
#[macro_export]
macro_rules! contract_suite {
    ($fresh:expr) => {
        $crate::contract_suite! { @checks $fresh }
        mod simulator {
            use super::*;
            $crate::contract_suite! { @seeds $fresh,
                tenth_1 = 0, tenth_2 = 1, tenth_3 = 2, tenth_4 = 3, tenth_5 = 4,
                tenth_6 = 5, tenth_7 = 6, tenth_8 = 7, tenth_9 = 8, tenth_10 = 9
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn cancel_at_every_step() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                for seed in $crate::contract::simulator::seeds().step_by(5) {
                    $crate::contract::simulator::cancel_at_every_step(&host, seed).await;
                }
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn lose_answers_at_every_write() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                for seed in $crate::contract::simulator::seeds().step_by(5) {
                    $crate::contract::simulator::lose_answers_at_every_write(&host, seed).await;
                }
            }
            $crate::contract_suite! { @asking $fresh,
                fifth_1 = 0, fifth_2 = 1, fifth_3 = 2, fifth_4 = 3, fifth_5 = 4
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn decide_at_every_step() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                for seed in $crate::contract::simulator::seeds().step_by(10) {
                    $crate::contract::simulator::decide_at_every_step(&host, seed).await;
                }
            }
        }
    };
    ($fresh:expr, seeds: $seeds:literal) => {
        $crate::contract_suite! { @checks $fresh }
        mod simulator {
            use super::*;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn crash_at_every_step() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                for seed in 0..$seeds {
                    $crate::contract::simulator::crash_at_every_step(&host, seed).await;
                }
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn cancel_at_every_step() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                for seed in 0..$seeds {
                    $crate::contract::simulator::cancel_at_every_step(&host, seed).await;
                }
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn lose_answers_at_every_write() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                for seed in 0..$seeds {
                    $crate::contract::simulator::lose_answers_at_every_write(&host, seed).await;
                }
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ask_at_every_step() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                for seed in 0..$seeds {
                    $crate::contract::simulator::ask_at_every_step(&host, seed).await;
                }
            }
        }
    };
    (@checks $fresh:expr) => {
        $crate::contract_suite! { @suites $fresh,
            accounts { one_owner, credentials, sessions }
            devices { life_of_a_device, only_a_recent_password_lets_a_device_in, a_device_that_is_refused, codes_end, asking_too_often,
                      a_yes_ends_with_its_sign_in, of_many_questions_one_is_answered, devices_are_bounded, names_of_devices, devices_are_swept }
            workspaces { several_workspaces, ids_of_workspaces, members, names }
            invitations { life_of_an_invitation, invitations_are_for_one_address, who_invites_whom, invitations_end,
                          one_of_many_is_let_in, open_invitations_are_bounded, invitations_stay_in_their_workspace }
            members { removal, leaving, roles, no_turn_slips_through }
            agents { primaries, edits, souls }
            conversations { life_of_a_conversation, ids_of_conversations, pages, pages_of_messages, ids_by_prefix, deletion, search, privacy_of_conversations }
            branches { saying_anew, branching, answering_anew, answering_late, places_that_are_none, any_tree }
            runs { a_turn, idempotency, one_key_sent_at_once, one_turn_at_a_time, retries, reply_ids_are_taken_once, cancelling, event_pages, bad_turns }
            run_log { appending, brief_logs, many_writers, lost_leases, settling, interleaving, handing_back, repeating,
                      repeating_under_a_lost_lease }
            turns { a_yes_before_a_change, a_yes_with_other_words, a_lost_call_under_a_new_rule, a_no_is_told, nobody_is_asked_in_vain, a_branch_is_read_alone, a_question_is_answered, calls_side_by_side, models_without_end, memories_and_calls_of_a_turn, turns_take_their_time, incredible_usage, streams_that_break_off,
                    continuing_keeps_tool_results, continuing_bounds_tool_results, grace }
            policies { versions_of_a_policy, who_sets_a_policy, forms_of_rules }
            requests { an_approval, talking_meanwhile, edited_arguments, questions, who_decides, an_owner_decides,
                       no_wait_misses_a_decision, repeating_a_wait, stale_approvals, asked_under_the_policy_in_force, a_new_policy_voids_approvals, a_new_role_voids_approvals, a_new_role_takes_runs_back, expiry, stopping,
                       reviews_outlive_their_run, pausing, answering_again, requests_are_bounded, the_end_of_what_waits,
                       proposals_wait_too, hints_of_what_waits }
            system { claims, of_many_workers_one_claims, parking, progress, leaving, older_workers, outbox, taking_hints, sweeping, audit_heads,
                     a_store_that_takes_writes_says_so }
            keys { life_of_a_key, ids_of_keys, scopes_of_keys }
            audit { entries_and_chain, memories_are_on_record }
            labels { kept_with_runs_and_replies, kept_when_a_reply_is_continued, sensitive_stays_here_until_its_owner_opens_it,
                     local_text_reaches_nobody_elsewhere, untrusted_text_leaves_only_proposals, others_words_share_nothing,
                     a_memory_forges_no_other, an_agent_writes_no_better_than_its_run, an_agent_writes_in_its_run_alone,
                     an_agent_elsewhere_reads_what_may_leave, a_conversation_is_trusted_again, each_label_is_cleared_by_itself,
                     a_cleared_text_may_leave, a_message_is_cleared_by_its_person_alone, labels_of_a_memory_are_cleared,
                     a_memory_is_cleared_by_who_may_edit_it }
            isolation { two_workspaces_never_meet, what_is_elsewhere_is_absent, agents_do_not_do_what_people_do,
                        an_agent_that_was_switched_off_reaches_nothing }
            notices { others_decide_about_their_replies, notices_are_dismissed, an_owner_redacts_for_everybody,
                      redaction_takes_the_hash_of_the_request, a_notice_is_about_the_redaction_of_one_person,
                      blanking_reaches_what_continued_a_reply, notices_are_about_what_is_there }
        }
    };
    (@suites $fresh:expr, $($suite:ident { $($check:ident),+ $(,)? })+) => {
        $(mod $suite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let harness = ($fresh)().await;
                $crate::contract::$suite::$check(&$crate::contract::World::new(&harness).await).await;
            })+
        })+
        mod set_up {
            use super::*;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn set_up() {
                $crate::contract::accounts::set_up(&($fresh)().await).await;
            }
        }
    };
    // The seeds are split into ten tests, so that they use all cores and none takes long, even on a database server.
    (@seeds $fresh:expr, $($part:ident = $first:literal),+) => {
        mod crash_at_every_step {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $part() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                let mut points = 0;
                for seed in $crate::contract::simulator::seeds().skip($first).step_by(10) {
                    points += $crate::contract::simulator::crash_at_every_step(&host, seed).await;
                }
                println!("{points} crash points");
            })+
        }
    };
    // Half of the seeds: these turns are longer.
    (@asking $fresh:expr, $($part:ident = $first:literal),+) => {
        mod ask_at_every_step {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $part() {
                let harness = ($fresh)().await;
                let host = $crate::contract::World::new(&harness).await.host();
                let mut points = 0;
                for seed in $crate::contract::simulator::seeds().skip($first).step_by(10) {
                    points += $crate::contract::simulator::ask_at_every_step(&host, seed).await;
                }
                println!("{points} crash points");
            })+
        }
    };
}
