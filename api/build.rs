//! Lets cargo notice a new web build: `rust-embed` tracks the files that it has embedded, not those that appear.

use std::{fs, path::Path};

fn main() {
    let web = Path::new("../web");
    let built = web.join("dist/client");
    if web.is_dir() {
        // Watching a folder that does not exist would rebuild this crate each time. An empty one means "not built".
        let _ = fs::create_dir_all(&built);
    }
    println!("cargo:rerun-if-changed=build.rs");
    if built.is_dir() {
        println!("cargo:rerun-if-changed={}", built.display());
    }
}
