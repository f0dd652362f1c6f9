//! Somebody opens more connections than the system has descriptors for.

use std::net::TcpStream;

use crate::harness::{Browser, Home};

/// However many connections are held, the owner gets in, the file can be written, and replies are written.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_gets_in_however_many_connections_are_held() {
    let home = Home::new();
    home.init();
    let server = home.serve_limited("-n 160");
    let address = server.url.trim_start_matches("http://").to_owned();
    let held: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let ada = Browser::sign_in(&server.url).await;
    let conversation = ada.conversation().await;
    let said = ada.say(&conversation, "Hello").await;
    ada.reply(&conversation, said["run_id"].as_str().unwrap()).await;
    home.run(["memory", "add", "The bike is red."]).ok();
    assert!(home.run(["memory", "list"]).ok().contains("bike is red"));
    drop(held);
    assert_eq!(server.stop().code(), Some(0));
}
