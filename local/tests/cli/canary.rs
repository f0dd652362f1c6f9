//! Nothing that a person says, and no secret, is readable in any file: not in the data file, its journal or shared memory,
//! not in temporary files, not in logs at their most verbose, while the server runs, after a crash, and after the end.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;

use crate::harness::{Browser, Home, PASSWORD};

const CONFIG: &str = "[models.offline]\npause_ms = 30\n[log]\nlevel = \"info,duet_core=trace,duet_api=trace,duet_local=trace\"\n";

/// Words that occur nowhere else.
const WORDS: [&str; 8] = [
    "quillon-message",
    "brimsel-memory",
    "vortane-sensitive",
    "ostrelle-title",
    "cinderwick-prompt",
    "halvane-search",
    "marrowby-piped",
    "tessinor-redacted",
];

/// All regular files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

/// The forms in which a text could be stored.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut forms = vec![text.as_bytes().to_vec(), utf16, hex::encode(text).into_bytes()];
    // The Base64 of a text within another depends on where it begins; the inner part is the same.
    for lead in 0..3 {
        let padded = [&b"\0\0\0"[..lead], text.as_bytes()].concat();
        let encoded = BASE64.encode(padded);
        forms.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
    }
    forms
}

/// `word in file` for each word that is readable in a file. One pass per file, by the forms' first bytes.
fn leaks(home: &Path, words: &[&str], except: &[&Path]) -> Vec<String> {
    let mut starts: Vec<Vec<(Vec<u8>, &str)>> = vec![Vec::new(); 256];
    for word in words {
        for form in forms(word) {
            starts[usize::from(form[0])].push((form, *word));
        }
    }
    let mut found = BTreeSet::new();
    for file in files(home).iter().filter(|file| !except.contains(&file.as_path())) {
        let bytes = fs::read(file).unwrap();
        for (position, byte) in bytes.iter().enumerate() {
            for (form, word) in &starts[usize::from(*byte)] {
                if bytes[position..].starts_with(form) {
                    found.insert(format!("{word} in {}", file.display()));
                }
            }
        }
    }
    found.into_iter().collect()
}

#[test]
fn the_scan_finds_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    for (number, form) in forms("quillon-message").into_iter().enumerate() {
        let file = folder.path().join("x");
        fs::write(&file, [&b"before"[..], &form, b"after"].concat()).unwrap();
        assert_eq!(leaks(folder.path(), &WORDS, &[]).len(), 1, "form {number}");
        assert!(leaks(folder.path(), &WORDS, &[&file]).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_said_and_no_secret_lies_readable_anywhere() {
    let home = Home::with_config(CONFIG);
    let server = home.serve();
    let token = server.setup_token.clone().unwrap();
    let ada = Browser::set_up(&server).await;
    let talk = ada.conversation().await;
    let said = ada.say(&talk, "My parrot is called quillon-message.").await;
    ada.reply(&talk, said["run_id"].as_str().unwrap()).await;
    ada.post("{ws}/memories", &json!({"text": "The bird eats brimsel-memory."}))
        .await;
    ada.post(
        "{ws}/memories",
        &json!({"text": "The illness is vortane-sensitive.", "sensitive": true}),
    )
    .await;
    let redacted = ada
        .post("{ws}/memories", &json!({"text": "The code is tessinor-redacted."}))
        .await;
    let id = redacted["id"].as_str().unwrap();
    ada.post(&format!("{{ws}}/memories/{id}/redact"), &json!({})).await;
    home.run([
        "agent",
        "edit",
        "companion_primary",
        "--prompt",
        "Speak like cinderwick-prompt.",
    ])
    .ok();
    home.run(["memory", "search", "halvane-search"]).ok();
    home.run_with(["ask", "-"], b"My boat is called marrowby-piped.").ok();
    ada.patch(&format!("{{ws}}/conversations/{talk}"), &json!({"title": "ostrelle-title"}))
        .await;
    let secret = home.run(["keys", "create", "editor", "--scope", "chat"]).ok();
    let key = fs::read_to_string(home.key()).unwrap();

    let key_file = home.key();
    let secrets = [token.as_str(), PASSWORD, secret.trim(), key.trim()];
    let words: Vec<&str> = WORDS.iter().chain(&secrets).copied().collect();
    let clean = |when: &str| {
        let found = leaks(home.path(), &words, &[&key_file]);
        assert!(found.is_empty(), "{when}: {found:?}");
    };
    assert!(
        files(home.path()).iter().any(|file| file.to_string_lossy().ends_with("-wal")),
        "the journal is among the files"
    );
    clean("while the server runs");
    let said = ada.say(&talk, "count to 200").await;
    ada.writing(said["run_id"].as_str().unwrap(), 2).await;
    server.kill();
    clean("after a crash");
    let server = home.serve();
    let ada = Browser::sign_in(&server.url).await;
    let found = ada.get("{ws}/memories/search?q=brimsel-memory").await;
    assert!(
        found.to_string().contains("brimsel-memory"),
        "it is all there for its owner: {found}"
    );
    assert_eq!(server.stop().code(), Some(0));
    clean("after the end");
    assert!(home.log().lines().count() > 5, "the log was written: {}", home.log());
}
