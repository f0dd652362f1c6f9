//! Prints the statements that make the world of `world.sql`, for judges who are not part of this suite.

fn main() -> anyhow::Result<()> {
    print!("{}", duet_rls_tests::arena::world()?);
    Ok(())
}
