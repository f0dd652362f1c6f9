//! The audit logs of all workspaces, and what was anchored of them.

use std::fs;

use duet_api::testing::Browser;
use duet_supabase::testing::EmptyDatabase;
use serde_json::json;

use crate::support::Program;

/// As the database's owner, past the triggers: the newest entry goes, and the head with it.
const CUT: &str = "
    set session_replication_role = replica;
    delete from duet.audit_entry e using duet.audit_head h where e.workspace_id = h.workspace_id and e.seq = h.seq;
    update duet.audit_head h set (seq, hash) = (select e.seq, e.chain_hash from duet.audit_entry e
                                                where e.workspace_id = h.workspace_id order by e.seq desc limit 1)";

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_end_was_cut_off_does_not_bear_out_its_anchors() {
    let database = EmptyDatabase::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let anchors = path("anchors");
    let duet = Program::of(&database).with("DUET_AUDIT__ANCHORS", &anchors);
    let token = duet.migrate();
    let server = duet.serve();
    let mut ada = Browser::new(&server.url);
    ada.set_up(&token).await;
    ada.post("{ws}/memories", &json!({"text": "The bike is red."})).await;
    assert!(server.stop().await.success());

    let verify = |file: &str| duet.run(&["audit", "verify", "--anchors", file]);
    let said = verify(&anchors).ok();
    assert!(said.contains("intact") && !said.contains(" 0 anchors"), "{said}");

    let kept = fs::read_to_string(&anchors).unwrap();
    for none in ["", "nonsense\n", &kept[..20]] {
        fs::write(path("none"), none).unwrap();
        verify(&path("none")).refused(1, &["no anchor", "none"]);
    }
    verify("/nowhere").refused(5, &["/nowhere"]);
    fs::write(path("some"), format!("{kept}nonsense\n")).unwrap();
    let some = duet.run(&["audit", "verify", "--json", "--anchors", &path("some")]).json();
    assert_eq!((&some["intact"], &some["unreadable"]), (&json!(true), &json!(1)), "{some}");

    database.sql("supabase_admin", CUT).await;
    let said = duet.run(&["audit", "verify"]).ok();
    assert!(said.contains("intact"), "what is left holds: {said}");
    let cut = verify(&anchors);
    assert_eq!(cut.code, 1, "{}{}", cut.out, cut.err);
    assert!(cut.out.contains("does not bear out"), "{}", cut.out);
}
