//! Prints the matrix for readers: `docs/security/rls-matrix.md`.

fn main() -> anyhow::Result<()> {
    print!("{}", duet_rls_tests::matrix::markdown()?);
    Ok(())
}
