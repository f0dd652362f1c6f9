//! Concurrent calls: the second of two calls waits for the first, or gets the answer it would get after it. A call that acts on what
//! it read before the first ended is answered differently than in sequence.
//!
//! Both calls are committed, so nothing else can be tried in that database afterwards.

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage},
    suite::Report,
};

const CHECK: &str = "races";

/// Two calls by actors, on what the host has prepared. Races run in list order, since their effects stay.
struct Race {
    what: &'static str,
    before: &'static str,
    first: (Actor, &'static str),
    second: (Actor, &'static str),
}

const RACES: &[Race] = &[
    Race {
        what: "an invitation is revoked and accepted",
        before: "",
        first: (Actor::Owner, "public.invitation_revoke(md5('workspace/C')::uuid, {stranger:invitation})"),
        second: (Actor::Stranger, "public.invitation_accept({stranger:bytes_welcome}, null)"),
    },
    Race {
        what: "an invitation is accepted twice",
        before: "insert into duet.invitation (workspace_id, id, email, role, token_hash, created_by, created_at, expires_at)
                 values (md5('workspace/C')::uuid, {new:invitation}, 'stranger@example.test', 'member', sha256('again'),
                         md5('account/owner')::uuid, private.now(), private.now() + interval '7 days')",
        first: (Actor::Stranger, "public.invitation_accept(sha256('again'), null)"),
        second: (Actor::Stranger, "public.invitation_accept(sha256('again'), null)"),
    },
    Race {
        what: "two newcomers accept one invitation",
        before: "",
        first: (Actor::Worker, "driver.accept_as_newcomer({former:bytes_welcome}, {new:one}, 'One', '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g')"),
        second: (Actor::Worker, "driver.accept_as_newcomer({former:bytes_welcome}, {new:two}, 'Two', '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g')"),
    },
    Race {
        what: "the last invitation that is left is made twice",
        before: "insert into duet.invitation (workspace_id, id, email, role, token_hash, created_by, created_at, expires_at)
                 select {ws}, gen_random_uuid(), 'guest' || n || '@example.test', 'member', sha256(n::text::bytea), {me}, private.now(),
                        private.now() + interval '7 days'
                 from generate_series(1, 99 - (select count(*)::int from duet.invitation i
                     where i.workspace_id = {ws} and i.accepted_at is null and i.revoked_at is null and i.expires_at > private.now())) n",
        first: (Actor::Owner, "public.invitation_create({ws}, {new:first}, 'one@example.test', 'member', sha256('one'), 86400)"),
        second: (Actor::Owner, "public.invitation_create({ws}, {new:second}, 'two@example.test', 'member', sha256('two'), 86400)"),
    },
    Race {
        what: "a device asks for its sign-in twice",
        before: "",
        first: (Actor::Worker, "driver.device_redeem(sha256('-/member/device_approved'), {new:first}, sha256('first'), 3600)"),
        second: (Actor::Worker, "driver.device_redeem(sha256('-/member/device_approved'), {new:second}, sha256('second'), 3600)"),
    },
    Race {
        what: "a device is refused and confirmed",
        before: "",
        first: (Actor::Worker, "driver.device_decide(md5('account/owner')::uuid, md5('-/owner/session')::uuid, sha256('-/member/code'), false)"),
        second: (Actor::Worker, "driver.device_decide(md5('account/member')::uuid, md5('-/member/session')::uuid, sha256('-/member/code'), true)"),
    },
    Race {
        what: "the last device that may wait comes twice",
        before: "insert into duet.device_login
                 select sha256('device' || n::text::bytea), sha256('code' || n::text::bytea), 'duet', '192.0.2.1', 'waiting', private.now(),
                        private.now() + interval '10 minutes'
                 from generate_series(1, 999 - (select count(*)::int from duet.device_login d
                     where d.state in ('waiting', 'approved') and d.expires_at > private.now())) n",
        first: (Actor::Worker, "driver.device_create(sha256('one'), sha256('two'), 'duet', '192.0.2.1')"),
        second: (Actor::Worker, "driver.device_create(sha256('three'), sha256('four'), 'duet', '192.0.2.1')"),
    },
    Race {
        what: "a message is sent twice under one key",
        before: "",
        first: (Actor::Member, "public.run_start_turn({ws}, {my:conversation}, {new:message}, {new:run}, {new:reply}, 'Once', null, null, 'at once', {limits})"),
        second: (Actor::Member, "public.run_start_turn({ws}, {my:conversation}, {new:others}, {new:runs}, {new:replies}, 'Once', null, null, 'at once', {limits})"),
    },
    Race {
        what: "the soul is written twice over one version",
        before: "",
        first: (Actor::Owner, "public.soul_write({ws}, 1, '{\"identity\": \"one\", \"personality\": \"p\", \"style\": \"s\", \"boundaries\": \"b\"}')"),
        second: (Actor::Owner, "public.soul_write({ws}, 1, '{\"identity\": \"two\", \"personality\": \"p\", \"style\": \"s\", \"boundaries\": \"b\"}')"),
    },
    Race {
        what: "a request is approved and rejected",
        before: "",
        first: (Actor::Member, "public.request_decide({ws}, {my:request}, md5('-/member/session')::uuid, '{\"decision\": \"approve\"}', null)"),
        second: (Actor::Member, "public.request_decide({ws}, {my:request}, md5('-/member/session')::uuid, '{\"decision\": \"reject\"}', null)"),
    },
    Race {
        what: "a request is approved while its run is stopped",
        before: "",
        first: (Actor::Member, "public.run_cancel({ws}, {my:run_waiting})"),
        second: (Actor::Owner, "public.request_decide({ws}, {member:request_owners}, md5('-/owner/session')::uuid, '{\"decision\": \"approve\"}', null)"),
    },
    Race {
        what: "a yes is used while the policy changes",
        before: "",
        first: (Actor::Owner, "public.policy_write({ws}, 1, '[]')"),
        second: (Actor::Worker, "driver.commit_run({my:run_running}, {my:lease}, 1, {new:commit}, true, '[]', '[]',
                                 jsonb_build_array(jsonb_build_object('request', {my:request_approved}, 'arguments', '{\"to\":\"mark-A-member-approved\"}')), null)"),
    },
    Race {
        what: "the policy is written twice over one version",
        before: "",
        first: (Actor::Owner, "public.policy_write({ws}, 2, '[{\"category\": \"question\", \"say\": \"allow\"}]')"),
        second: (Actor::Owner, "public.policy_write({ws}, 2, '[{\"category\": \"question\", \"say\": \"deny\"}]')"),
    },
    Race {
        what: "a notice is settled in both ways",
        before: "",
        first: (Actor::Member, "public.notice_settle({ws}, {my:notice}, 'dismiss')"),
        second: (Actor::Member, "public.notice_settle({ws}, {my:notice}, 'blank')"),
    },
    Race {
        what: "a memory is redacted twice",
        before: "",
        first: (Actor::Member, "public.memory_redact({ws}, {my:secret}, {new:redaction})"),
        second: (Actor::Member, "public.memory_redact({ws}, {my:secret}, {new:other})"),
    },
    Race {
        what: "one owner leaves while the other steps down",
        before: "update duet.member set role = 'owner' where workspace_id = {ws} and user_id = {member:me}",
        first: (Actor::Owner, "public.workspace_remove_member({ws}, {me})"),
        second: (Actor::Member, "public.workspace_change_role({ws}, {me}, 'member')"),
    },
];

/// Finds calls that are answered differently when concurrent than in sequence. Needs a second connection: without one it finds
/// nothing.
pub async fn races(stage: &mut Stage, report: &mut Report) -> Result<()> {
    if stage.witness("select 1::text").await?.is_none() {
        return Ok(());
    }
    for race in RACES {
        report.tried += 1;
        let filled = |(actor, call): (Actor, &str)| (actor, format!("select {}::text", actor.place().fill(call)));
        let (first, second) = (filled(race.first), filled(race.second));
        stage.begin(first.0).await?;
        stage.run(&format!("{}; commit", first.0.place().fill(race.before))).await?;
        let alone = after(stage, None, &second).await?;
        let later = after(stage, Some(&first), &second).await?;
        if alone == later {
            report.find(CHECK, format!("{}: the second call does not depend on the first", race.what));
        }
        stage.begin_as(first.0).await?;
        let ended = stage.attempt(&first.1, Effects::Stay).await?;
        if !matches!(&ended, Outcome::Rows(rows) if rows.iter().any(|row| row.starts_with("{\"ok\""))) {
            report.find(CHECK, format!("{}: the first call does nothing: {ended:?}", race.what));
        }
        stage.step_back().await?;
        let at_once = stage.at_once(second.0, &second.1).await?;
        if at_once != later {
            report.find(
                CHECK,
                format!("{}: at once {at_once:?}, one after the other {later:?}", race.what),
            );
        }
    }
    Ok(())
}

/// The result of a call after another one, in an act that is rolled back.
async fn after(stage: &mut Stage, first: Option<&(Actor, String)>, (actor, call): &(Actor, String)) -> Result<Outcome> {
    stage.begin(*actor).await?;
    if let Some((earlier, call)) = first {
        stage.take_on(*earlier).await?;
        stage.attempt(call, Effects::Stay).await?;
        stage.step_back().await?;
    }
    stage.take_on(*actor).await?;
    let outcome = stage.attempt(call, Effects::Stay).await?;
    stage.rollback().await?;
    Ok(outcome)
}
