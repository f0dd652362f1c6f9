//! Prints the reference of `duet-api`.

fn main() {
    print!("{}", duet_api::server::reference_markdown());
}
